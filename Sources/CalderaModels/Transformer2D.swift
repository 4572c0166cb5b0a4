import CalderaGraph

/// diffusers `Transformer2DModel` over feature maps: group norm, projection in, blocks, projection out, residual.
struct Transformer2D {
    let heads: Int
    let depth: Int
    let groups: Int
    let linearProjection: Bool

    /// source [B, H, W, C], context [B, T, cross] -> [B, H, W, C].
    func callAsFunction(_ layers: Layers, _ source: Tensor, context: Tensor) throws -> Tensor {
        let graph = layers.graph
        let shape = source.shape
        let channels = shape.channels
        let tokens: Shape = [shape[0], shape[1] * shape[2], channels]
        // The epsilon is the class's own, not the config's (diffusers transformer_2d.py).
        let normalized = try layers("norm").groupNorm(source, groups: groups, epsilon: 1e-6)
        var hidden = try projected(layers("proj_in"), graph.reshape(normalized, tokens))
        for index in 0..<depth {
            hidden = try block(layers("transformer_blocks.\(index)"), hidden, context: context)
        }
        hidden = try projected(layers("proj_out"), hidden)
        return try graph.reshape(layers.add(hidden, graph.reshape(source, tokens)), shape)
    }

    /// A linear layer, or the 1x1 convolution that SD 1.x stores in its place: the same product.
    private func projected(_ layers: Layers, _ source: Tensor) throws -> Tensor {
        let channels = source.shape.channels
        return linearProjection
            ? try layers.linear(source, channels) : try layers.convolution1x1(source, channels)
    }

    /// diffusers `BasicTransformerBlock`: self-attention, cross-attention, GEGLU feed-forward, each behind a layer norm.
    private func block(_ layers: Layers, _ source: Tensor, context: Tensor) throws -> Tensor {
        let graph = layers.graph
        let channels = source.shape.channels
        var hidden = source
        var normalized = try layers("norm1").layerNorm(hidden, epsilon: 1e-5)
        hidden = try layers.add(attention(layers("attn1"), normalized, context: normalized), hidden)
        normalized = try layers("norm2").layerNorm(hidden, epsilon: 1e-5)
        hidden = try layers.add(attention(layers("attn2"), normalized, context: context), hidden)
        normalized = try layers("norm3").layerNorm(hidden, epsilon: 1e-5)
        let gates = try layers("ff.net.0.proj").linear(normalized, 8 * channels)
        let feed = try graph.geglu(gates, label: layers("ff.net.0").path)
        return try layers.add(layers("ff.net.2").linear(feed, channels), hidden)
    }

    private func attention(_ layers: Layers, _ source: Tensor, context: Tensor) throws -> Tensor {
        let channels = source.shape.channels
        let mixed = try layers.graph.attention(
            query: layers("to_q").linear(source, channels, bias: false),
            key: layers("to_k").linear(context, channels, bias: false),
            value: layers("to_v").linear(context, channels, bias: false), heads: heads, label: layers.path)
        return try layers("to_out.0").linear(mixed, channels)
    }
}
