import CalderaGraph
import CalderaModels
import Foundation

/// Pictures into latents and back, with the autoencoder of a pipeline. Weights are loaded for each call and released
/// behind it.
struct LatentCoder {
    let plans: PipelinePlans
    let backend: any Backend
    let tiling: Tiling
    private let others: Others

    /// What else of a pipeline is loaded, and may go where an autoencoder finds no room beside it.
    struct Others {
        /// Bytes that `release` would give back.
        let memory: () -> Int
        let release: () -> Void

        static var none: Others { Others(memory: { 0 }, release: {}) }
    }

    init(plans: PipelinePlans, backend: any Backend, tiling: Tiling, others: Others) {
        self.plans = plans
        self.backend = backend
        self.tiling = tiling
        self.others = others
    }

    private var parts: PipelineParts { plans.parts }
    private var scale: Int { parts.autoencoder.downscale }

    // MARK: Decoding

    /// latents [pictures, h, w, c] as the sampler left them -> pictures [pictures, H, W, 3] in about -1...1; one at a
    /// time, which needs the least memory and gives each picture the same bits in any batch.
    ///
    /// Where activations leave fp16's range the picture is decoded again in fp32. Throws `CalderaError` with the layer's
    /// name where values are not finite all the same.
    func decode(_ latents: HostTensor) throws -> HostTensor {
        let decode = try decoder(height: latents.shape[1], width: latents.shape[2])
        return HostTensor.stacked(try (0..<latents.shape[0]).map { try decode(latents.entry($0)) })
    }

    /// A loaded decoder for latents [1, h, w, c] of one size; see `decode`.
    func decoder(height: Int, width: Int) throws -> (HostTensor) throws -> HostTensor {
        var attempts = try attempts(.decoder, height: height, width: width)
        return { latents in try attempts.run(parts.autoencoder.latentScale.decoderInput(latents)) }
    }

    // MARK: Encoding

    /// A sample of the latents of a picture [1, H, W, 3] for each stream of `noise`: fp32 [pictures, h, w, c] in the
    /// sampler's scale (diffusers `DiagonalGaussianDistribution.sample`).
    func encode(_ picture: HostTensor, pictures: Int, _ noise: inout NoiseSource) throws -> HostTensor {
        let (height, width) = (picture.shape[1] / scale, picture.shape[2] / scale)
        var attempts = try attempts(.encoder, height: height, width: width)
        let moments = try attempts.run(picture)
        return HostTensor.stacked(
            samples(moments, pictures: pictures, &noise).map(parts.autoencoder.latentScale.modelInput))
    }

    private func samples(_ encoded: HostTensor, pictures: Int, _ noise: inout NoiseSource) -> [HostTensor] {
        switch parts.autoencoder.encoding {
        case .latents: return Array(repeating: encoded, count: pictures)
        case .moments:
            let drawn = noise.draw()
            return (0..<pictures).map { index in
                Self.sample(encoded, drawn.entry(index).floats, channels: parts.autoencoder.latentChannels)
            }
        }
    }

    /// mean + exp(log variance / 2)·noise, the log variance held between -30 and 20.
    private static func sample(_ moments: HostTensor, _ noise: [Float], channels: Int) -> HostTensor {
        let values = moments.floats
        let sampled = noise.indices.map { index in
            let pixel = index / channels * 2 * channels
            let channel = index % channels
            let logVariance = min(max(values[pixel + channels + channel], -30), 20)
            return values[pixel + channel] + exp(logVariance / 2) * noise[index]
        }
        return HostTensor([1, moments.shape[1], moments.shape[2], channels], sampled)
    }

    // MARK: Loading

    private func attempts(_ direction: LatentWork.Direction, height: Int, width: Int) throws -> LatentAttempts {
        func load(_ dtype: DType) throws -> LoadedLatentWork {
            let left = backend.availableMemory
            let alone = left.map { min($0 + others.memory(), backend.memoryLimit ?? .max) }
            let choice = try work(direction, height: height, width: width, dtype, beside: left, alone: alone)
            if !choice.keepsOthers { others.release() }
            return try LoadedLatentWork(choice.work, on: backend)
        }
        return LatentAttempts(try load(plans.autoencoderDType)) { try load(.float32) }
    }
}

extension HostTensor {
    /// Entry `index` of the first axis, which the result keeps with extent 1.
    func entry(_ index: Int) -> HostTensor {
        if shape[0] == 1 { return self }
        let single = Shape([1] + shape.extents.dropFirst())
        return HostTensor(single, Array(floats[index * single.count..<(index + 1) * single.count]))
    }

    /// Tensors of one shape, along the first axis.
    package static func stacked(_ tensors: [HostTensor]) -> HostTensor {
        guard let first = tensors.first else { return HostTensor([0], [Float]()) }
        if tensors.count == 1 { return first }
        let count = tensors.reduce(0) { $0 + $1.shape[0] }
        return HostTensor(Shape([count] + first.shape.extents.dropFirst()), tensors.flatMap(\.floats))
    }

    var isFinite: Bool { floats.allSatisfy(\.isFinite) }
}
