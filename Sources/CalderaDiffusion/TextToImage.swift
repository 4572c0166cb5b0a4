import CalderaGraph
import CalderaModels
import CalderaText
import Foundation

/// What a text-to-image run is asked for, with every default already filled in.
package struct TextToImageRequest: Sendable {
    package var prompt: String
    /// Nil when there is none, which is not the same as an empty one (`force_zeros_for_empty_prompt`).
    package var negativePrompt: String?
    /// Pixels.
    package var width: Int
    package var height: Int
    package var steps: Int
    package var guidanceScale: Double
    /// One picture for each seed, made side by side.
    package var seeds: [UInt64]
    /// A scheduler's name, or nil for the model's own.
    package var scheduler: String?

    package init(
        prompt: String, negativePrompt: String?, width: Int, height: Int, steps: Int, guidanceScale: Double,
        seeds: [UInt64], scheduler: String?
    ) {
        self.prompt = prompt
        self.negativePrompt = negativePrompt
        self.width = width
        self.height = height
        self.steps = steps
        self.guidanceScale = guidanceScale
        self.seeds = seeds
        self.scheduler = scheduler
    }

    /// SDXL's time ids: original size, crop, target size, each height first (diffusers `_get_add_time_ids`).
    package var timeIDs: [Float] { [height, width, 0, 0, height, width].map(Float.init) }

    /// Guidance costs a second evaluation, and at a scale of 1 or below diffusers leaves it out.
    package var guided: Bool { guidanceScale > 1 }
}

/// How far a run is.
package enum PipelineEvent: Sendable {
    case encoding
    case compiling
    case step(index: Int, of: Int, seconds: Double)
    case decoding
}

/// Seconds spent in each part of a run.
package struct PipelineTimings: Sendable, Equatable {
    package var encode = 0.0
    package var compile = 0.0
    package var steps: [Double] = []
    package var decode = 0.0
}

/// What a run leaves.
package struct PipelineResult: Sendable {
    /// fp32 [pictures, h, w, c], as the last scheduler step left them.
    package let latents: HostTensor
    /// fp32 [pictures, H, W, 3] in about -1...1.
    package let pictures: HostTensor
    package let timings: PipelineTimings
}

/// Prompt in, pictures out: tokenize, encode, denoise, decode. Reference: diffusers `StableDiffusionPipeline.__call__`
/// and `StableDiffusionXLPipeline.__call__`.
package final class TextToImage {
    package let parts: PipelineParts
    package let backend: any Backend
    package var precision: Precision { plans.precision }
    private let plans: PipelinePlans
    /// The recorded UNet of the last shape; another picture of the same shape replays it.
    private var denoiser: (key: DenoisingGraph, executable: any Executable)?

    package init(parts: PipelineParts, backend: any Backend, precision: Precision) throws {
        try parts.checkFit()
        self.parts = parts
        self.backend = backend
        plans = PipelinePlans(parts: parts, precision: precision, limits: backend.limits)
    }

    /// Runs the request; `progress` is called from the same thread between the parts of the work and after each step,
    /// and may throw to stop it.
    package func run(
        _ request: TextToImageRequest, progress: (PipelineEvent) throws -> Void
    ) throws -> PipelineResult {
        var timings = PipelineTimings()
        let schedule = try schedule(request)
        try checkDecoder(request)
        try progress(.encoding)
        let (positive, negative) = try timed(&timings.encode) { try embeddings(request) }
        try progress(.compiling)
        let graph = plans.denoising(request, schedule: schedule, pictures: request.seeds.count)
        let executable = try timed(&timings.compile) { try compiledDenoiser(graph) }
        let latents = try denoise(
            executable, graph, request, schedule, [negative, positive].compactMap { $0 }, &timings, progress)
        try progress(.decoding)
        let pictures = try timed(&timings.decode) { try decode(latents) }
        return PipelineResult(latents: latents, pictures: pictures, timings: timings)
    }

    /// Throws where the picture could be denoised but never decoded: better now than behind the last step. A denoiser that
    /// is still loaded would be released for the decoder, so nothing can be said of the room while there is one.
    private func checkDecoder(_ request: TextToImageRequest) throws {
        if denoiser != nil { return }
        let scale = parts.autoencoder.config.downscale
        let plan = try plans.decoder(height: request.height / scale, width: request.width / scale)
        try backend.checkRoom(for: plan, part: "decoder")
    }

    // MARK: Conditioning

    /// The prompt's embedding, and the negative prompt's where guidance needs one.
    private func embeddings(_ request: TextToImageRequest) throws -> (PromptEmbedding, PromptEmbedding?) {
        let conditioning = try PromptEncoder(plans: plans, backend: backend).encode(
            ConditioningRequest(
                prompt: request.prompt, negativePrompt: request.negativePrompt, isGuided: request.guided,
                steps: request.steps))
        return (conditioning.segments[0].positive, conditioning.segments[0].negative)
    }

    /// Device bytes that a batch of `pictures` would need while it denoises.
    package func memoryNeeded(_ request: TextToImageRequest, pictures: Int) throws -> Int {
        let schedule = try schedule(request)
        return try plans.denoiser(plans.denoising(request, schedule: schedule, pictures: pictures)).totalSize
    }

    private func schedule(_ request: TextToImageRequest) throws -> Schedule {
        try SchedulerRegistry.make(name: request.scheduler, config: parts.scheduler).schedule(steps: request.steps)
    }

    // MARK: Denoising

    private func compiledDenoiser(_ key: DenoisingGraph) throws -> any Executable {
        if let denoiser, denoiser.key == key { return denoiser.executable }
        denoiser = nil
        let executable = try backend.load(plans.denoiser(key), weights: parts.unetWeights, part: "UNet")
        denoiser = (key, executable)
        return executable
    }

    private func denoise(
        _ executable: any Executable, _ graph: DenoisingGraph, _ request: TextToImageRequest, _ schedule: Schedule,
        _ embeddings: [PromptEmbedding], _ timings: inout PipelineTimings, _ progress: (PipelineEvent) throws -> Void
    ) throws -> HostTensor {
        var noise = NoiseSource(
            seeds: request.seeds, height: graph.height, width: graph.width, channels: parts.unet.config.inChannels)
        try executable.write("latents", noise.draw(scale: schedule.initNoiseSigma))
        try executable.write("step", HostTensor([1], [Int32(0)]))
        try executable.write("timesteps", HostTensor([graph.steps], schedule.steps.map { Float($0.timestep) }))
        try executable.write("coefficients", graph.coefficients(schedule, guidanceScale: request.guidanceScale))
        if graph.noisy { try executable.write("noise", noise.draw(steps: graph.steps)) }
        try write(embeddings, request, graph, to: executable)
        try timed(&timings.encode) { try executable.run(.prompt) }
        for index in 0..<graph.steps {
            var seconds = 0.0
            try timed(&seconds) { try executable.run(.step) }
            timings.steps.append(seconds)
            try progress(.step(index: index, of: graph.steps, seconds: seconds))
        }
        let latents = try executable.read("latents")
        try checkFinite(latents, "the UNet's latents")
        return latents
    }

    private func write(
        _ embeddings: [PromptEmbedding], _ request: TextToImageRequest, _ graph: DenoisingGraph,
        to executable: any Executable
    ) throws {
        let rows = embeddings.flatMap { Array(repeating: $0, count: graph.pictures) }
        let channels = parts.unet.config.crossAttentionChannels
        try executable.write(
            "context", HostTensor([graph.batch, graph.tokens, channels], rows.flatMap(\.context)))
        guard let added = graph.added else { return }
        try executable.write("text_embeds", HostTensor([graph.batch, added.textChannels], rows.flatMap(\.pooled)))
        try executable.write(
            "time_ids", HostTensor([graph.batch * added.timeIDs], rows.flatMap { _ in request.timeIDs }))
    }

    // MARK: Decoding

    /// latents [pictures, h, w, c] as the sampler left them -> pictures [pictures, H, W, 3]; one at a time, which needs
    /// the least memory and gives each picture the same bits in any batch.
    package func decode(_ latents: HostTensor) throws -> HostTensor {
        let config = parts.autoencoder.config
        let single: Shape = [1, latents.shape[1], latents.shape[2], latents.shape[3]]
        let plan = try plans.decoder(height: latents.shape[1], width: latents.shape[2])
        // Where both do not fit, the next picture of this shape compiles the UNet again.
        if let available = backend.availableMemory, plan.totalSize > available { denoiser = nil }
        let executable = try backend.load(plan, weights: parts.autoencoderWeights, part: "decoder")
        let scale = Float(1 / config.scalingFactor)
        var pictures: [Float] = []
        for index in 0..<latents.shape[0] {
            let values = latents.floats[index * single.count..<(index + 1) * single.count].map { $0 * scale }
            try executable.write("latents", HostTensor(single, values))
            try executable.run(.prompt)
            let picture = try executable.read("picture")
            try checkFinite(picture, "the decoder's picture")
            pictures += picture.floats
        }
        let shape = try plan.source("picture").tensor.shape
        return HostTensor([latents.shape[0], shape[1], shape[2], shape[3]], pictures)
    }

    private func checkFinite(_ tensor: HostTensor, _ what: String) throws {
        if tensor.floats.allSatisfy(\.isFinite) { return }
        throw CalderaError(
            "\(what.prefix(1).uppercased() + what.dropFirst()) has values that are not finite numbers under "
                + "\(precision.rawValue): try --precision fp32.")
    }

    private func timed<Result>(_ seconds: inout Double, _ work: () throws -> Result) rethrows -> Result {
        let start = ContinuousClock.now
        defer { seconds += (ContinuousClock.now - start) / .seconds(1) }
        return try work()
    }
}
