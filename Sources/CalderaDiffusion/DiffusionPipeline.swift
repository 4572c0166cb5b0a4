import CalderaGraph
import CalderaModels

/// Prompt in, pictures out: tokenize, encode, denoise, refine, decode. References: diffusers' StableDiffusion,
/// StableDiffusionXL, their Img2Img and Inpaint pipelines (`__call__`).
package final class DiffusionPipeline {
    package let backend: any Backend
    package let precision: Precision
    private let base: Denoiser
    /// Takes over behind a share of the steps, where there is one.
    private let refiner: Denoiser?
    /// What shows each step's estimate, where previews are wanted.
    package var previewDecoder: PreviewDecoder?
    package var parts: PipelineParts { base.plans.parts }

    /// Throws `CalderaError` when the parts do not fit each other.
    package init(
        parts: PipelineParts, refiner: PipelineParts? = nil, backend: any Backend, precision: Precision
    ) throws {
        try parts.checkFit()
        if let refiner {
            try refiner.checkFit()
            try parts.checkHandover(to: refiner)
        }
        self.backend = backend
        self.precision = precision
        func denoiser(_ parts: PipelineParts) -> Denoiser {
            Denoiser(
                plans: PipelinePlans(parts: parts, precision: precision, limits: backend.limits), backend: backend)
        }
        base = denoiser(parts)
        self.refiner = refiner.map(denoiser)
    }

    /// Runs the request; `progress` is called from the same thread between the parts of the work and after each step,
    /// and may throw to stop it.
    package func run(
        _ request: PipelineRequest, progress: (PipelineEvent) throws -> Void
    ) throws -> PipelineResult {
        var timings = PipelineTimings()
        let stages = try stages(request)
        try makeReady(for: request)
        try progress(.encoding)
        let conditionings = try timings.add(to: \.encode) { try stages.map { try conditioning(request, $0) } }
        var noise = noiseSource(request)
        let start = try timings.add(to: \.encode) { try startingLatents(request, stages, &noise) }
        try progress(.compiling)
        let inputs = RunInputs(request: request, start: start, conditionings: conditionings)
        let latents = try denoise(stages, inputs, &noise, &timings, progress: progress)
        try progress(.decoding)
        let pictures = try timings.add(to: \.decode) { try coder(request.tiling).decode(latents) }
        return PipelineResult(
            latents: latents, pictures: pictures, timings: timings, warnings: conditionings[0].warnings)
    }

    /// Takes UNet weights from their source again, which now lends these in another form.
    package func replaceWeights(_ names: Set<String>) throws {
        if !names.isEmpty { try base.replaceWeights(names) }
    }

    // MARK: Stages

    /// One model's share of the steps.
    struct Stage {
        let denoiser: Denoiser
        let schedule: Schedule

        func timeIDs(_ request: PipelineRequest) -> (negative: [Float], positive: [Float]) {
            denoiser.plans.parts.timeIDs(request)
        }
    }

    func stages(_ request: PipelineRequest) throws -> [Stage] {
        let schedule = try parts.schedule(request)
        guard let refiner, let start = request.refinerStart else {
            return [Stage(denoiser: base, schedule: schedule)]
        }
        let cutoff = Handover(share: start, trainSteps: try parts.trainSteps())
        let refinement = try refiner.plans.parts.schedule(request, first: cutoff.first)
        return [
            Stage(denoiser: base, schedule: schedule.prefix(try cutoff.count(in: schedule))),
            Stage(denoiser: refiner, schedule: refinement),
        ]
    }

    // MARK: Steps of a run

    /// What is known of a run before its first step; the conditionings are those of the stages.
    private struct RunInputs {
        let request: PipelineRequest
        let start: StartingLatents
        let conditionings: [Conditioning]
    }

    /// Under a limit each part has all of it in its turn, and a UNet takes what it can.
    /// Throws where the picture could be denoised but never decoded: better now than behind the last step.
    private func makeReady(for request: PipelineRequest) throws {
        if backend.memoryLimit != nil { releaseAll() }
        if !base.isLoaded { try checkDecoder(request) }
    }

    private func conditioning(_ request: PipelineRequest, _ stage: Stage) throws -> Conditioning {
        try PromptEncoder(plans: stage.denoiser.plans, backend: backend).encode(
            ConditioningRequest(
                prompt: request.prompt, negativePrompt: request.negativePrompt,
                isGuided: stage.denoiser.plans.parts.guides(request),
                syntax: request.promptSyntax, clipSkip: request.clipSkip, steps: stage.schedule.steps.count))
    }

    private func noiseSource(_ request: PipelineRequest) -> NoiseSource {
        let scale = parts.autoencoder.downscale
        return NoiseSource(
            request.seeds, height: request.height / scale, width: request.width / scale,
            channels: parts.unet.config.outChannels)
    }

    private func startingLatents(
        _ request: PipelineRequest, _ stages: [Stage], _ noise: inout NoiseSource
    ) throws -> StartingLatents {
        try StartingLatents(
            request.source, schedule: stages[0].schedule, noise: &noise, coder: coder(request.tiling),
            concatenates: parts.takesMask, blends: stages.contains { !$0.denoiser.plans.parts.takesMask })
    }

    /// Hands the latents from stage to stage; returns the last ones.
    private func denoise(
        _ stages: [Stage], _ inputs: RunInputs, _ noise: inout NoiseSource, _ timings: inout PipelineTimings,
        progress: (PipelineEvent) throws -> Void
    ) throws -> HostTensor {
        let total = stages.reduce(0) { $0 + $1.schedule.steps.count }
        var latents = inputs.start.latents
        for (stage, conditioning) in zip(stages, inputs.conditionings) {
            let job = job(stage, inputs, conditioning, latents, &noise)
            let before = timings.steps.count
            latents = try stage.denoiser.run(job, &timings) { step in
                try progress(.step(index: before + step.index, of: total, seconds: step.seconds))
                guard let previewDecoder, let estimate = step.estimate else { return }
                try progress(.preview(previewDecoder.picture(estimate)))
            }
            // Two UNets are never held at once.
            if stages.count > 1 { stage.denoiser.release() }
        }
        return latents
    }

    private func job(
        _ stage: Stage, _ inputs: RunInputs, _ conditioning: Conditioning, _ latents: HostTensor,
        _ noise: inout NoiseSource
    ) -> DenoisingJob {
        let (request, schedule) = (inputs.request, stage.schedule)
        return DenoisingJob(
            schedule: schedule, guided: stage.denoiser.plans.parts.guides(request),
            guidanceScale: request.guidanceScale * conditioning.guidanceFactor,
            guidanceRescale: request.guidanceRescale, latents: latents,
            noise: schedule.usesNoise ? noise.draw(schedule) : nil,
            inpainting: inputs.start.inpainting(concatenated: stage.denoiser.plans.parts.takesMask),
            conditioning: conditioning, timeIDs: stage.timeIDs(request), previews: previewDecoder != nil)
    }

    // MARK: Decoding

    /// latents [pictures, h, w, c] as the sampler left them -> pictures [pictures, H, W, 3].
    package func decode(_ latents: HostTensor, tiling: Tiling = .auto) throws -> HostTensor {
        try coder(tiling).decode(latents)
    }

    /// A picture [1, H, W, 3] in -1...1 -> a sample of its latents in the sampler's scale, fp32 [1, h, w, c].
    package func encode(_ picture: HostTensor, seed: UInt64, tiling: Tiling = .auto) throws -> HostTensor {
        let scale = parts.autoencoder.downscale
        var noise = NoiseSource(
            PictureSeeds(seeds: [seed]), height: picture.shape[1] / scale, width: picture.shape[2] / scale,
            channels: parts.autoencoder.latentChannels)
        return try coder(tiling).encode(picture, pictures: 1, &noise)
    }

    /// Where a picture does not fit beside a UNet, the next one of this shape compiles the UNet again.
    func coder(_ tiling: Tiling) -> LatentCoder {
        LatentCoder(
            plans: base.plans, backend: backend, tiling: tiling,
            others: .init(memory: { self.denoiserMemory }, release: releaseAll))
    }

    private var denoiserMemory: Int { base.memory + (refiner?.memory ?? 0) }

    /// Bytes of device memory that a run could use, or nil where nobody knows: what is left, and what the UNet of the last
    /// run holds, which makes room where it must.
    package var availableMemory: Int? {
        guard let left = backend.availableMemory else { return nil }
        return min(left + denoiserMemory, backend.memoryLimit ?? .max)
    }

    /// Gives back the memory of what the last run has left loaded.
    package func releaseAll() {
        base.release()
        refiner?.release()
        previewDecoder?.release()
    }
}
