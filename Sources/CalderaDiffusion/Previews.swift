import CalderaGraph
import CalderaModels

/// Shows what a run believes the picture to be, with a decoder that is small enough to run behind every step.
package final class PreviewDecoder {
    private let parts: PipelineParts
    private let backend: any Backend
    private let precision: Precision
    private var decoder: (height: Int, width: Int, run: (HostTensor) throws -> HostTensor)?

    /// - Parameters:
    ///   - autoencoder: a decoder for the latents of `parts`: TAESD, TAESDXL, or any other.
    /// Throws `CalderaError` when its latents are of another kind.
    package init(
        _ autoencoder: any Autoencoder, weights: any WeightSource, for parts: PipelineParts, backend: any Backend,
        precision: Precision
    ) throws {
        let own = parts.autoencoder
        guard autoencoder.latentChannels == own.latentChannels, autoencoder.downscale == own.downscale else {
            throw CalderaError(
                "The preview decoder is for latents of \(autoencoder.latentChannels) channels and "
                    + "\(autoencoder.downscale) pixels, the model's have \(own.latentChannels) channels and "
                    + "\(own.downscale) pixels: name TAESD for SD models and TAESDXL for SDXL.")
        }
        self.parts = parts.replacing(autoencoder: autoencoder, weights: weights)
        self.backend = backend
        self.precision = precision
    }

    /// The first of some latents, fp32 [pictures, h, w, c] in the model's scale -> [1, H, W, 3] in about -1...1.
    func picture(_ latents: HostTensor) throws -> HostTensor {
        let first = latents.entry(0)
        if let decoder, (decoder.height, decoder.width) == (first.shape[1], first.shape[2]) {
            return try decoder.run(first)
        }
        let plans = PipelinePlans(parts: parts, precision: precision, limits: backend.limits)
        let coder = LatentCoder(plans: plans, backend: backend, tiling: .auto, others: .none)
        let run = try coder.decoder(height: first.shape[1], width: first.shape[2])
        decoder = (first.shape[1], first.shape[2], run)
        return try run(first)
    }

    /// Gives its memory back.
    func release() { decoder = nil }
}
