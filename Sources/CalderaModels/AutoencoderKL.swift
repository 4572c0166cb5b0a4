import CalderaGraph

/// diffusers `AutoencoderKL`: pictures to latents and back.
/// Reference: diffusers `autoencoder_kl.py`, `vae.py`; Rombach et al., "High-Resolution Image Synthesis with Latent
/// Diffusion Models" (2022).
package struct AutoencoderKL: Autoencoder {
    package let config: AutoencoderConfig

    package init(_ config: AutoencoderConfig) { self.config = config }

    package var latentChannels: Int { config.latentChannels }
    package var downscale: Int { config.downscale }
    package var latentScale: LatentScale { config.latentScale }
    package var overflowsHalf: Bool { config.forceUpcast }
    package var encoding: LatentEncoding { .moments }

    /// latents [B, h, w, latent_channels], already divided by the scaling factor -> picture [B, 8h, 8w, 3] in -1...1
    /// (for four levels; each level but the last doubles the size).
    package func decode(_ graph: Graph, latents: Tensor) throws -> Tensor {
        let layers = Layers(graph)
        let decoder = layers("decoder")
        var hidden = latents
        if config.usesPostQuantConvolution {
            hidden = try layers("post_quant_conv").convolution1x1(hidden, config.latentChannels)
        }
        let deepest = config.blockChannels.count - 1
        hidden = try decoder("conv_in").convolution3x3(hidden, config.blockChannels[deepest])
        hidden = try midBlock(decoder("mid_block"), hidden)
        for index in 0...deepest {
            let block = decoder("up_blocks.\(index)")
            for layer in 0...config.layersPerBlock {
                hidden = try resnet(config.blockChannels[deepest - index])(block("resnets.\(layer)"), hidden)
            }
            if index == deepest { break }
            hidden = try upsampled(
                block("upsamplers.0"), hidden, height: 2 * hidden.shape[1], width: 2 * hidden.shape[2])
        }
        return try head(decoder, hidden, config.outChannels)
    }

    /// picture [B, H, W, 3] in -1...1 -> moments [B, H/8, W/8, 2·latent_channels]: means, then log variances.
    package func encode(_ graph: Graph, picture: Tensor) throws -> Tensor {
        let layers = Layers(graph)
        let encoder = layers("encoder")
        let deepest = config.blockChannels.count - 1
        var hidden = try encoder("conv_in").convolution3x3(picture, config.blockChannels[0])
        for index in 0...deepest {
            let block = encoder("down_blocks.\(index)")
            for layer in 0..<config.layersPerBlock {
                hidden = try resnet(config.blockChannels[index])(block("resnets.\(layer)"), hidden)
            }
            if index == deepest { break }
            // Zeros below and on the right only (diffusers `Downsample2D` with padding 0).
            let padding = Padding(top: 0, left: 0, bottom: 1, right: 1)
            hidden = try downsampled(block("downsamplers.0"), hidden, padding: padding)
        }
        hidden = try midBlock(encoder("mid_block"), hidden)
        hidden = try head(encoder, hidden, 2 * config.latentChannels)
        if !config.usesQuantConvolution { return hidden }
        return try layers("quant_conv").convolution1x1(hidden, 2 * config.latentChannels)
    }

    private func head(_ layers: Layers, _ source: Tensor, _ channels: Int) throws -> Tensor {
        let norm = layers("conv_norm_out")
        let hidden = norm.activation(try norm.groupNorm(source, groups: config.groups, epsilon: 1e-6), .silu)
        return try layers("conv_out").convolution3x3(hidden, channels)
    }

    private func midBlock(_ layers: Layers, _ source: Tensor) throws -> Tensor {
        let resnet = resnet(source.shape.channels)
        var hidden = try resnet(layers("resnets.0"), source)
        if config.midBlockAttention { hidden = try attention(layers("attentions.0"), hidden) }
        return try resnet(layers("resnets.1"), hidden)
    }

    /// One head as wide as the level.
    private func attention(_ layers: Layers, _ source: Tensor) throws -> Tensor {
        let graph = layers.graph
        let shape = source.shape
        let channels = shape.channels
        let tokens: Shape = [shape[0], shape[1] * shape[2], channels]
        let normalized = try graph.reshape(
            layers("group_norm").groupNorm(source, groups: config.groups, epsilon: 1e-6), tokens)
        let mixed = try graph.attention(
            query: layers("to_q").linear(normalized, channels), key: layers("to_k").linear(normalized, channels),
            value: layers("to_v").linear(normalized, channels), heads: 1, label: layers.path)
        let hidden = try layers("to_out.0").linear(mixed, channels)
        return try graph.reshape(layers.add(hidden, graph.reshape(source, tokens)), shape)
    }

    private func resnet(_ channels: Int) -> ResnetBlock {
        ResnetBlock(channels: channels, groups: config.groups, epsilon: 1e-6)
    }
}
