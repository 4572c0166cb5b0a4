import CalderaGraph

/// diffusers `AutoencoderTiny`: TAESD and TAESDXL, which approximate an AutoencoderKL at a fraction of its work.
/// Their latents are the diffusion model's own (scaling factor 1).
/// Reference: diffusers `autoencoder_tiny.py` and `vae.py` (`EncoderTiny`, `DecoderTiny`).
package struct AutoencoderTiny: Autoencoder {
    package let config: AutoencoderTinyConfig

    package init(_ config: AutoencoderTinyConfig) { self.config = config }

    package var latentChannels: Int { config.latentChannels }
    package var downscale: Int { config.downscale }
    package var latentScale: LatentScale { config.latentScale }
    package var overflowsHalf: Bool { false }
    package var encoding: LatentEncoding { .latents }

    /// latents [B, h, w, latent_channels] -> picture [B, 8h, 8w, 3] in about -1...1 (for four stages).
    package func decode(_ graph: Graph, latents: Tensor) throws -> Tensor {
        var stack = LayerStack(Layers(graph)("decoder.layers"))
        var hidden = Self.softClamped(graph, latents)
        hidden = try stack.next().convolution3x3(hidden, config.decoderChannels)
        hidden = stack.next().activation(hidden, .relu)
        for (stage, blocks) in config.decoderBlocks.enumerated() {
            for _ in 0..<blocks { hidden = try Self.block(stack.next(), hidden) }
            if stage == config.decoderBlocks.count - 1 { break }
            let enlarged = try graph.upsampleNearest(
                hidden, height: 2 * hidden.shape[1], width: 2 * hidden.shape[2], label: stack.next().path)
            hidden = try stack.next().convolution3x3(enlarged, config.decoderChannels, bias: false)
        }
        let picture = try stack.next().convolution3x3(hidden, config.outChannels)
        return graph.scaleShift(picture, scale: 2, shift: -1, label: "decoder")
    }

    /// picture [B, H, W, 3] in -1...1 -> latents [B, H/8, W/8, latent_channels], sizes rounded up.
    package func encode(_ graph: Graph, picture: Tensor) throws -> Tensor {
        var stack = LayerStack(Layers(graph)("encoder.layers"))
        var hidden = graph.scaleShift(picture, scale: 0.5, shift: 0.5, label: "encoder")
        for (stage, blocks) in config.encoderBlocks.enumerated() {
            hidden = try stack.next().convolution(
                hidden, config.encoderChannels, kernel: 3, stride: stage == 0 ? 1 : 2, padding: Padding(1),
                bias: stage == 0)
            for _ in 0..<blocks { hidden = try Self.block(stack.next(), hidden) }
        }
        return try stack.next().convolution3x3(hidden, config.latentChannels)
    }

    /// 3 · tanh(x / 3).
    private static func softClamped(_ graph: Graph, _ latents: Tensor) -> Tensor {
        let label = "decoder.clamp"
        let narrow = graph.scaleShift(latents, scale: 1 / 3, shift: 0, label: label)
        return graph.scaleShift(graph.activation(narrow, .tanh, label: label), scale: 3, shift: 0, label: label)
    }

    /// Three convolutions with ReLU between them, the source added, ReLU.
    private static func block(_ layers: Layers, _ source: Tensor) throws -> Tensor {
        var hidden = source
        for name in ["conv.0", "conv.2", "conv.4"] {
            hidden = try layers(name).convolution3x3(hidden, source.shape.channels)
            if name != "conv.4" { hidden = layers(name).activation(hidden, .relu) }
        }
        return layers.activation(try layers.add(hidden, source), .relu)
    }
}

/// The numbered layers of a PyTorch `Sequential`; those without weights have numbers too.
private struct LayerStack {
    private let layers: Layers
    private var index = 0

    init(_ layers: Layers) { self.layers = layers }

    mutating func next() -> Layers {
        defer { index += 1 }
        return layers("\(index)")
    }
}
