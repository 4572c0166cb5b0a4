import CalderaGraph

/// What a sampling loop starts from: noise, or a picture with some.
struct StartingLatents {
    let latents: HostTensor
    let inpainting: DenoisingJob.Inpainting?
}

extension StartingLatents {
    /// Draws from `noise` in the order of diffusers' pipelines: the sample of the picture's latents, the noise, the sample of
    /// the masked picture's latents (`StableDiffusionImg2ImgPipeline.prepare_latents`,
    /// `StableDiffusionInpaintPipeline.prepare_latents` and `prepare_mask_latents`). Every picture draws from its own
    /// stream, so that one of a batch equals the same picture made alone.
    /// - Parameter concatenates: whether the UNet takes the mask as a channel of its own.
    init(
        _ source: SourcePicture?, schedule: Schedule, noise: inout NoiseSource, coder: LatentCoder, concatenates: Bool
    ) throws {
        guard let source else {
            latents = noise.drawFirst().scaled(schedule.initNoiseSigma)
            inpainting = nil
            return
        }
        // A strength of 1 starts an inpainting from pure noise; the picture then matters only where it is put back.
        let fromNoise = source.mask != nil && source.strength == 1
        let known =
            fromNoise && concatenates ? nil : try coder.encode(source.picture, pictures: noise.shape[0], &noise)
        let drawn = noise.drawFirst()
        if let known, !fromNoise {
            latents = known.scaled(schedule.start.image).adding(drawn.scaled(schedule.start.noise))
        } else {
            latents = drawn.scaled(schedule.initNoiseSigma)
        }
        guard let mask = source.mask else {
            inpainting = nil
            return
        }
        // diffusers encodes the masked picture even where it is not used: the stream must advance all the same.
        let masked = try coder.encode(source.picture.hidden(by: mask), pictures: noise.shape[0], &noise)
        inpainting = DenoisingJob.Inpainting(
            mask: mask.nearest(height: noise.height, width: noise.width),
            known: concatenates ? masked : known ?? masked, noise: drawn)
    }
}

extension HostTensor {
    func scaled(_ factor: Double) -> HostTensor { HostTensor(shape, floats.map { $0 * Float(factor) }) }

    func adding(_ other: HostTensor) -> HostTensor { HostTensor(shape, zip(floats, other.floats).map { $0 + $1 }) }

    /// A picture [1, H, W, C] that is 0, mid grey, where the mask [1, H, W, 1] is 1.
    fileprivate func hidden(by mask: HostTensor) -> HostTensor {
        let (values, masked, channels) = (floats, mask.floats, shape[3])
        return HostTensor(shape, values.indices.map { masked[$0 / channels] < 0.5 ? values[$0] : 0 })
    }

    /// [1, H, W, 1] at another size, by nearest neighbour (torch `interpolate`: source row = ⌊row·H / height⌋).
    fileprivate func nearest(height: Int, width: Int) -> HostTensor {
        let values = floats
        let picked = (0..<height).flatMap { row in
            (0..<width).map { values[row * shape[1] / height * shape[2] + $0 * shape[2] / width] }
        }
        return HostTensor([1, height, width, 1], picked)
    }
}
