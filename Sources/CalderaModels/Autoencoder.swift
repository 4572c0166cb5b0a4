import CalderaGraph

/// Pictures to latents and back: what a pipeline needs of any autoencoder, AutoencoderKL or a tiny one.
package protocol Autoencoder: Sendable {
    var latentChannels: Int { get }
    /// Pixels for each latent in either direction.
    var downscale: Int { get }
    /// How the diffusion model's latents differ from the autoencoder's.
    var latentScale: LatentScale { get }
    /// Whether activations are known to overflow fp16 (`force_upcast`), so that it must run in fp32.
    var overflowsHalf: Bool { get }
    /// What `encode` gives.
    var encoding: LatentEncoding { get }

    /// The autoencoder's latents [B, h, w, latentChannels] -> picture [B, H, W, 3] in -1...1.
    func decode(_ graph: Graph, latents: Tensor) throws -> Tensor
    /// picture [B, H, W, 3] in -1...1 -> what `encoding` says.
    func encode(_ graph: Graph, picture: Tensor) throws -> Tensor
}

/// What an encoder gives for a picture.
package enum LatentEncoding: Sendable, Equatable {
    /// [B, h, w, 2·latentChannels]: the means of a normal distribution, then its log variances.
    case moments
    /// [B, h, w, latentChannels].
    case latents
}

/// The autoencoder that a `config.json` describes, by its `_class_name`; AutoencoderKL where there is none.
/// Throws `CalderaError` for other classes and for settings that are not computed.
package func makeAutoencoder(_ config: JSONConfig) throws -> any Autoencoder {
    switch try config.string("_class_name", default: "AutoencoderKL") {
    case "AutoencoderKL": return AutoencoderKL(try AutoencoderConfig(config))
    case "AutoencoderTiny": return AutoencoderTiny(try AutoencoderTinyConfig(config))
    case let other:
        throw CalderaError(
            "\(config.path): the autoencoder \(other) is not one that Caldera computes; it knows AutoencoderKL and "
                + "AutoencoderTiny.")
    }
}

/// The affine map between the autoencoder's latents z and the diffusion model's:
/// model = (z - mean) · scalingFactor / deviation, channel by channel.
/// Reference: diffusers `StableDiffusionXLPipeline.__call__` and `StableDiffusionXLImg2ImgPipeline.prepare_latents`.
package struct LatentScale: Sendable, Equatable {
    package let scalingFactor: Double
    /// `latents_mean` and `latents_std`, one number for each channel (Playground v2.5); nil for 0 and 1.
    package let mean: [Double]?
    package let deviation: [Double]?

    package init(scalingFactor: Double, mean: [Double]? = nil, deviation: [Double]? = nil) {
        self.scalingFactor = scalingFactor
        self.mean = mean
        self.deviation = deviation
    }

    /// The diffusion model's latents [..., channels] as the decoder takes them.
    package func decoderInput(_ latents: HostTensor) -> HostTensor {
        mapped(latents) { value, mean, deviation in value * Float(deviation / scalingFactor) + Float(mean) }
    }

    /// The encoder's latents [..., channels] as the diffusion model takes them.
    package func modelInput(_ latents: HostTensor) -> HostTensor {
        mapped(latents) { value, mean, deviation in (value - Float(mean)) * Float(scalingFactor / deviation) }
    }

    private func mapped(
        _ latents: HostTensor, _ body: (_ value: Float, _ mean: Double, _ deviation: Double) -> Float
    ) -> HostTensor {
        let channels = max(1, latents.shape.channels)
        let values = latents.floats.enumerated().map { index, value in
            body(value, mean?[index % channels] ?? 0, deviation?[index % channels] ?? 1)
        }
        return HostTensor(latents.shape, values)
    }
}

extension LatentScale {
    /// Reads `scaling_factor`, `latents_mean` and `latents_std`.
    /// Throws for a factor or a deviation that is not positive, and for lists that do not have `channels` numbers.
    init(_ config: JSONConfig, channels: Int, defaultFactor: Double) throws {
        scalingFactor = try config.double("scaling_factor", default: defaultFactor)
        guard scalingFactor.isFinite, scalingFactor > 0 else {
            throw CalderaError("\(config.path): scaling_factor is \(scalingFactor), where a positive number is needed.")
        }
        func list(_ key: String, _ other: String) throws -> [Double]? {
            guard config.has(key) || config.has(other) else { return nil }
            let numbers = try config.doubles(key)
            if numbers.count == channels, numbers.allSatisfy(\.isFinite) { return numbers }
            throw CalderaError("\(config.path): \(key) is \(numbers), where \(channels) numbers are needed.")
        }
        mean = try list("latents_mean", "latents_std")
        deviation = try list("latents_std", "latents_mean")
        if let deviation, !deviation.allSatisfy({ $0 > 0 }) {
            throw CalderaError("\(config.path): latents_std is \(deviation), where positive numbers are needed.")
        }
    }
}
