import CalderaGraph

/// diffusers `ResnetBlock2D` with the "default" (additive) time embedding.
struct ResnetBlock {
    let channels: Int
    let groups: Int
    let epsilon: Float

    /// source [B, H, W, in] -> [B, H, W, channels]; `time` [S, B or 1, E], already through SiLU, has one row of
    /// embeddings for every step, so that the projections of all steps are made at once, before the loop.
    func callAsFunction(_ layers: Layers, _ source: Tensor, time: TimeTable? = nil) throws -> Tensor {
        var hidden = try normalized(layers("norm1"), source)
        hidden = try layers("conv1").convolution3x3(hidden, channels)
        if let time { hidden = try layers.add(hidden, time.projected(layers("time_emb_proj"), channels)) }
        hidden = try normalized(layers("norm2"), hidden)
        hidden = try layers("conv2").convolution3x3(hidden, channels)
        let shortcut =
            source.shape.channels == channels ? source : try layers("conv_shortcut").convolution1x1(source, channels)
        return try layers.add(hidden, shortcut)
    }

    private func normalized(_ layers: Layers, _ source: Tensor) throws -> Tensor {
        layers.activation(try layers.groupNorm(source, groups: groups, epsilon: epsilon), .silu)
    }
}

/// The time embeddings of every step of a schedule, and the counter that says which one is current.
struct TimeTable {
    /// [S, B or 1, E], after SiLU.
    let embeddings: Tensor
    /// int32 [1].
    let step: Tensor

    /// The current step's embedding through a linear layer: [B or 1, channels].
    func projected(_ layers: Layers, _ channels: Int) throws -> Tensor {
        try layers.graph.select(layers.linear(embeddings, channels), step, label: layers.path)
    }
}

/// diffusers `Downsample2D`: a 3x3 convolution of stride 2.
func downsampled(_ layers: Layers, _ source: Tensor, padding: Padding) throws -> Tensor {
    try layers("conv").convolution(source, source.shape.channels, kernel: 3, stride: 2, padding: padding)
}

/// diffusers `Upsample2D`: nearest neighbour to `height` x `width`, then a 3x3 convolution.
func upsampled(_ layers: Layers, _ source: Tensor, height: Int, width: Int) throws -> Tensor {
    let enlarged = try layers.graph.upsampleNearest(source, height: height, width: width, label: layers.path)
    return try layers("conv").convolution3x3(enlarged, source.shape.channels)
}
