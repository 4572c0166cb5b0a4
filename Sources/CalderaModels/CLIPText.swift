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

    package struct Output {
        /// [B, T, C] behind the last layer and the final layer norm.
        package let lastHiddenState: Tensor
        /// [B, T, C]: `hidden_states[-2]`, the input of the last layer, without a layer norm.
        package let penultimate: Tensor
        /// [B, P]: the end-of-text token's last hidden state through `text_projection`; nil without a projection.
        package let textEmbeds: Tensor?
    }

    /// ids int32 [B, T]; endOfText int32 [B], the position of each prompt's end-of-text token.
    package func callAsFunction(_ graph: Graph, ids: Tensor, endOfText: Tensor) throws -> Output {
        let layers = Layers(graph, path: prefix)
        let width = config.hiddenSize
        var hidden = try graph.embedding(
            ids: ids,
            tokens: layers("embeddings.token_embedding").weight("weight", [config.vocabularySize, width]),
            positions: layers("embeddings.position_embedding").weight("weight", [config.positions, width]),
            label: layers("embeddings").path)
        var penultimate = hidden
        for index in 0..<config.layers {
            penultimate = hidden
            hidden = try layer(layers("encoder.layers.\(index)"), hidden)
        }
        let last = try layers("final_layer_norm").layerNorm(hidden, epsilon: config.epsilon)
        guard let projection = config.projection else {
            return Output(lastHiddenState: last, penultimate: penultimate, textEmbeds: nil)
        }
        let pooled = try graph.gatherToken(last, endOfText, label: "text_projection")
        let embeds = try Layers(graph, path: "text_projection").linear(pooled, projection, bias: false)
        return Output(lastHiddenState: last, penultimate: penultimate, textEmbeds: embeds)
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
