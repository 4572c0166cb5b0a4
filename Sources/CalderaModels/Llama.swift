import CalderaGraph

/// transformers `LlamaForCausalLM`, with a cache of keys and values.
/// Reference: transformers `modeling_llama.py`; Touvron et al., "LLaMA: Open and Efficient Foundation Language Models"
/// (2023).
package struct Llama {
    package let config: LlamaConfig

    package init(_ config: LlamaConfig) { self.config = config }

    /// What each pass over new tokens takes.
    package struct Pass {
        /// int32 [B, T].
        package let ids: Tensor
        /// int32 [B]: the position of each sequence's first new token.
        package let positions: Tensor
        /// int32 [B]: which of the new tokens is each sequence's last; nil where T is 1.
        package let last: Tensor?

        package init(ids: Tensor, positions: Tensor, last: Tensor?) {
            self.ids = ids
            self.positions = positions
            self.last = last
        }
    }

    /// The keys and values of every layer, and the table of angles: what all passes of a graph share.
    package struct Memory {
        /// fp32 [P, headSize].
        let angles: Tensor
        let layers: [(keys: Tensor, values: Tensor)]
    }

    /// Room for `context` tokens of each of `batch` sequences. The host writes the input `Llama.anglesName` once, from
    /// `RotaryFrequencies.table`.
    package func memory(_ graph: Graph, batch: Int, context: Int) -> Memory {
        let shape = Shape([batch, context, config.keyHeads * config.headSize])
        return Memory(
            angles: graph.input(Self.anglesName, [context, config.headSize], .float32),
            layers: (0..<config.layers).map {
                (graph.cache("model.layers.\($0).keys", shape), graph.cache("model.layers.\($0).values", shape))
            })
    }

    package static let anglesName = "rotary_angles"

    /// [B, V]: what each sequence's last new token says of the next. Keys and values of the new tokens go to the memory.
    package func callAsFunction(_ graph: Graph, _ pass: Pass, _ memory: Memory) throws -> Tensor {
        let layers = Layers(graph, path: "model")
        let tokens = try layers("embed_tokens").weight("weight", [config.vocabularySize, config.hiddenSize])
        var hidden = try graph.embedding(ids: pass.ids, tokens: tokens, label: layers("embed_tokens").path)
        for index in 0..<config.layers {
            hidden = try layer(layers("layers.\(index)"), hidden, pass, memory, index)
        }
        let batch = hidden.shape[0]
        let last =
            try pass.last.map { try graph.gatherToken(hidden, $0, label: "last token") }
            ?? graph.reshape(hidden, [batch, config.hiddenSize])
        let normalized = try layers("norm").rmsNorm(last, epsilon: config.epsilon)
        if config.isTied { return try graph.linear(normalized, weight: tokens, bias: nil, label: "lm_head") }
        return try Layers(graph, path: "lm_head").linear(normalized, config.vocabularySize, bias: false)
    }

    private func layer(_ layers: Layers, _ source: Tensor, _ pass: Pass, _ memory: Memory, _ index: Int) throws
        -> Tensor
    {
        let normalized = try layers("input_layernorm").rmsNorm(source, epsilon: config.epsilon)
        let mixed = try attention(layers("self_attn"), normalized, pass, memory, index)
        let hidden = try layers.add(mixed, source)
        let feed = try layers("post_attention_layernorm").rmsNorm(hidden, epsilon: config.epsilon)
        return try layers.add(feedForward(layers("mlp"), feed), hidden)
    }

    private func attention(_ layers: Layers, _ source: Tensor, _ pass: Pass, _ memory: Memory, _ index: Int) throws
        -> Tensor
    {
        let graph = layers.graph
        let (keyChannels, bias) = (config.keyHeads * config.headSize, config.hasAttentionBias)
        func turned(_ tensor: Tensor) throws -> Tensor {
            try graph.rotary(
                tensor, table: memory.angles, positions: pass.positions, headSize: config.headSize, label: layers.path)
        }
        let query = try turned(layers("q_proj").linear(source, config.heads * config.headSize, bias: bias))
        let key = try turned(layers("k_proj").linear(source, keyChannels, bias: bias))
        let value = try layers("v_proj").linear(source, keyChannels, bias: bias)
        let (keys, values) = memory.layers[index]
        let mixed = try graph.cachedAttention(
            query: query, keys: graph.write(key, to: keys, at: pass.positions, label: layers.path),
            values: graph.write(value, to: values, at: pass.positions, label: layers.path),
            positions: pass.positions, heads: config.heads, keyHeads: config.keyHeads, label: layers.path)
        return try layers("o_proj").linear(mixed, config.hiddenSize, bias: bias)
    }

    private func feedForward(_ layers: Layers, _ source: Tensor) throws -> Tensor {
        let (width, bias) = (config.intermediateSize, config.hasMLPBias)
        let gated = try layers.graph.swiglu(
            gate: layers("gate_proj").linear(source, width, bias: bias),
            value: layers("up_proj").linear(source, width, bias: bias), label: layers.path)
        return try layers("down_proj").linear(gated, config.hiddenSize, bias: bias)
    }
}
