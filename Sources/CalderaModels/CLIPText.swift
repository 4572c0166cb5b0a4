import CalderaGraph

/// transformers `CLIPTextModel` and `CLIPTextModelWithProjection`.
/// Reference: transformers `modeling_clip.py`; Radford et al., "Learning Transferable Visual Models From Natural Language
/// Supervision" (2021).
package struct CLIPText {
    package let config: CLIPTextConfig
    /// What stands before the weight names: "text_model." in the files of the hub.
    package let prefix: String

    package init(_ config: CLIPTextConfig, prefix: String = "text_model") {
        self.config = config
        self.prefix = prefix
    }

    /// One of an encoder's hidden states.
    package struct HiddenState: Sendable, Hashable {
        /// How many of the last layers are left out: 0 for the output of the last one.
        package let skippedLayers: Int
        /// Whether the final layer norm is applied to it.
        package let isNormalized: Bool

        package init(skippedLayers: Int, isNormalized: Bool) {
            self.skippedLayers = skippedLayers
            self.isNormalized = isNormalized
        }

        package static let last = HiddenState(skippedLayers: 0, isNormalized: true)
        /// `hidden_states[-2]`, the input of the last layer, without a layer norm.
        package static let penultimate = HiddenState(skippedLayers: 1, isNormalized: false)
    }

    package struct Output {
        /// [B, T, C] each: the embeddings, then what each layer made of them; transformers' `hidden_states`.
        package let hiddenStates: [Tensor]
        /// [B, T, C] behind the last layer and the final layer norm.
        package let lastHiddenState: Tensor
        /// [B, P]: the end-of-text token's last hidden state through `text_projection`; nil without a projection.
        package let textEmbeds: Tensor?

        /// [B, T, C]: `HiddenState.penultimate`.
        package var penultimate: Tensor { hiddenStates[hiddenStates.count - 2] }
    }

    /// ids int32 [B, T]; endOfText int32 [B], the position of each prompt's end-of-text token, or nil where no pooled
    /// embedding is wanted. Layers that no output of the graph needs are never run.
    package func callAsFunction(_ graph: Graph, ids: Tensor, endOfText: Tensor?) throws -> Output {
        let layers = Layers(graph, path: prefix)
        let width = config.hiddenSize
        let embeddings = try graph.embedding(
            ids: ids,
            tokens: layers("embeddings.token_embedding").weight("weight", [config.vocabularySize, width]),
            positions: layers("embeddings.position_embedding").weight("weight", [config.positions, width]),
            label: layers("embeddings").path)
        var states = [embeddings]
        for index in 0..<config.layers {
            states.append(try layer(layers("encoder.layers.\(index)"), states[index]))
        }
        let last = try finalNorm(graph, states[config.layers])
        return Output(
            hiddenStates: states, lastHiddenState: last, textEmbeds: try projected(graph, last, endOfText))
    }

    /// [B, T, C]: a hidden state of `output`, which this encoder made in `graph`.
    /// Throws a usage error when it leaves out more layers than there are.
    package func state(_ wanted: HiddenState, of output: Output, in graph: Graph) throws -> Tensor {
        guard (0...config.layers).contains(wanted.skippedLayers) else {
            throw CalderaError.usage(
                "\(wanted.skippedLayers) of the text encoder's \(config.layers) layers cannot be skipped.")
        }
        if wanted == .last { return output.lastHiddenState }
        let hidden = output.hiddenStates[config.layers - wanted.skippedLayers]
        return wanted.isNormalized ? try finalNorm(graph, hidden) : hidden
    }

    private func finalNorm(_ graph: Graph, _ hidden: Tensor) throws -> Tensor {
        try Layers(graph, path: prefix)("final_layer_norm").layerNorm(hidden, epsilon: config.epsilon)
    }

    private func projected(_ graph: Graph, _ last: Tensor, _ endOfText: Tensor?) throws -> Tensor? {
        guard let projection = config.projection, let endOfText else { return nil }
        let pooled = try graph.gatherToken(last, endOfText, label: "text_projection")
        return try Layers(graph, path: "text_projection").linear(pooled, projection, bias: false)
    }

    private func layer(_ layers: Layers, _ source: Tensor) throws -> Tensor {
        let graph = layers.graph
        let width = config.hiddenSize
        var hidden = source
        let attention = layers("self_attn")
        let normalized = try layers("layer_norm1").layerNorm(hidden, epsilon: config.epsilon)
        let mixed = try graph.attention(
            query: attention("q_proj").linear(normalized, width), key: attention("k_proj").linear(normalized, width),
            value: attention("v_proj").linear(normalized, width), heads: config.heads, causal: true,
            label: attention.path)
        hidden = try layers.add(attention("out_proj").linear(mixed, width), hidden)
        let feed = try layers("layer_norm2").layerNorm(hidden, epsilon: config.epsilon)
        let first = layers("mlp.fc1")
        let inner = first.activation(try first.linear(feed, config.intermediateSize), config.activation)
        return try layers.add(layers("mlp.fc2").linear(inner, width), hidden)
    }
}
