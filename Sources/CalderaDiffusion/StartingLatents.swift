import CalderaGraph

/// What a sampling loop starts from: noise, or a picture with some.
struct StartingLatents {
    let latents: HostTensor
    private let kept: Kept?

    /// What is known of a picture of which a part is made anew.
    private struct Kept {
        /// [1, h, w, 1].
        let mask: HostTensor
        /// Latents of all of it, where a stage blends them in, and of what the mask leaves: fp32 [pictures, h, w, c].
        let picture: HostTensor?
        let masked: HostTensor
        /// The noise in the first latents.
        let noise: HostTensor
    }

    /// What a stage keeps of the picture; nil where it keeps nothing.
    /// - Parameter concatenated: whether its UNet takes the mask as a channel of its own.
    func inpainting(concatenated: Bool) -> DenoisingJob.Inpainting? {
        kept.map { kept in
            DenoisingJob.Inpainting(
                mask: kept.mask, known: concatenated ? kept.masked : kept.picture ?? kept.masked, noise: kept.noise)
        }
    }
}

extension StartingLatents {
    /// Draws from `noise` in the order of diffusers' pipelines: the sample of the picture's latents, the noise, the sample of
    /// the masked picture's latents (`StableDiffusionImg2ImgPipeline.prepare_latents`,
    /// `StableDiffusionInpaintPipeline.prepare_latents` and `prepare_mask_latents`). Every picture draws from its own
    /// stream, so that one of a batch equals the same picture made alone.
    /// - Parameters:
    ///   - concatenates: whether the first stage's UNet takes the mask as a channel of its own.
    ///   - blends: whether any stage's UNet does not, and the picture is put back behind its steps.
    init(
        _ source: SourcePicture?, schedule: Schedule, noise: inout NoiseSource, coder: LatentCoder, concatenates: Bool,
        blends: Bool
    ) throws {
        guard let source else {
            latents = noise.drawFirst().scaled(schedule.initNoiseSigma)
            kept = nil
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
            kept = nil
            return
        }
        // diffusers encodes the masked picture even where it is not used: the stream must advance all the same.
        let masked = try coder.encode(source.picture.hidden(by: mask), pictures: noise.shape[0], &noise)
        // Only a refiner behind an inpainting model asks for a picture that was not encoded: its sample must not move the
        // stream on.
        var aside = noise
        let later = blends && known == nil ? try coder.encode(source.picture, pictures: noise.shape[0], &aside) : nil
        kept = Kept(
            mask: mask.nearest(height: noise.height, width: noise.width), picture: known ?? later, masked: masked,
            noise: drawn)
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
