import CalderaGraph
import CalderaModels

/// One model's part of a run: what its UNet starts from, and what it is told.
struct DenoisingJob {
    let schedule: Schedule
    /// Whether the UNet is evaluated for the negative prompt as well.
    let guided: Bool
    let guidanceScale: Double
    let guidanceRescale: Double
    /// fp32 [pictures, h, w, c], in the scheduler's own scale.
    let latents: HostTensor
    /// fp32 [steps, pictures, h, w, c] where the scheduler draws noise.
    let noise: HostTensor?
    let inpainting: Inpainting?
    let conditioning: Conditioning
    /// The rows of time ids for the negative prompt and for the prompt; empty for SD 1.x and 2.x.
    let timeIDs: (negative: [Float], positive: [Float])

    /// Whether each step's estimate of the finished latents is wanted.
    let previews: Bool

    /// What keeps a part of the picture.
    struct Inpainting {
        /// [1, h, w, 1]: 1 where the picture is made anew.
        let mask: HostTensor
        /// fp32 [pictures, h, w, c]: for a UNet of 4 channels the whole picture's latents, for one of 9 channels those
        /// of the picture without the masked part.
        let known: HostTensor
        /// The noise in the first latents, for a UNet of 4 channels.
        let noise: HostTensor
    }
}

/// Runs a UNet over a schedule. The recorded graph of the last shape is kept: another picture of that shape replays it.
final class Denoiser {
    let plans: PipelinePlans
    let backend: any Backend
    private var recorded: (key: DenoisingGraph, executable: any Executable)?
    private var parts: PipelineParts { plans.parts }

    init(plans: PipelinePlans, backend: any Backend) {
        self.plans = plans
        self.backend = backend
    }

    var isLoaded: Bool { recorded != nil }

    /// Bytes that the recorded graph holds.
    var memory: Int { recorded?.executable.memory.total ?? 0 }

    /// Gives the memory of the recorded graph back.
    func release() { recorded = nil }

    /// What there is to say of a step that is done.
    struct Step {
        let index: Int
        let seconds: Double
        /// The estimate of the finished latents, where it was asked for.
        let estimate: HostTensor?
    }

    /// Seconds for compiling and for each step are added to `timings`; `progress` is called after each step and may throw
    /// to stop the run. Returns the last latents, fp32 [pictures, h, w, c].
    /// Throws `CalderaError` with the layer's name at the first step whose latents are not finite numbers.
    func run(
        _ job: DenoisingJob, _ timings: inout PipelineTimings, progress: (Step) throws -> Void
    ) throws -> HostTensor {
        let graph = plans.denoising(job)
        let executable = try timings.add(to: \.compile) { try compiled(graph) }
        try write(job, graph, to: executable)
        for index in 0..<graph.steps {
            try timings.add(to: \.encode) { try condition(executable, job, graph, at: index) }
            let start = ContinuousClock.now
            try executable.run(.step)
            let seconds = (ContinuousClock.now - start) / .seconds(1)
            timings.steps.append(seconds)
            guard try executable.statesAreFinite() else {
                throw CalderaError.notFinite(
                    try executable.firstNonFinite(.step), part: "UNet", dtype: plans.precision.dtype)
            }
            let estimate = job.previews ? try executable.read("preview") : nil
            try progress(Step(index: index, seconds: seconds, estimate: estimate))
        }
        return try executable.read("latents")
    }

    /// Tells the UNet what the prompt says from this step on, where that changes.
    private func condition(
        _ executable: any Executable, _ job: DenoisingJob, _ graph: DenoisingGraph, at index: Int
    ) throws {
        let segment = job.conditioning.segment(at: index)
        if index > 0, job.conditioning.segment(at: index - 1).end == segment.end { return }
        try write(segment, job, graph, to: executable)
        try executable.run(.prompt)
    }

    /// Takes weights from the source again that it now lends in another form.
    func replaceWeights(_ names: Set<String>) throws {
        try recorded?.executable.replaceWeights(names, from: parts.unetWeights)
    }

    private func compiled(_ key: DenoisingGraph) throws -> any Executable {
        if let recorded, recorded.key == key { return recorded.executable }
        recorded = nil
        let executable = try backend.load(plans.denoiser(key), weights: parts.unetWeights, part: "UNet")
        recorded = (key, executable)
        return executable
    }

    // MARK: Inputs

    /// Writes everything but what the prompt says.
    private func write(_ job: DenoisingJob, _ graph: DenoisingGraph, to executable: any Executable) throws {
        try writeSchedule(job, graph, to: executable)
        try writeInpainting(job, graph, to: executable)
    }

    private func writeSchedule(_ job: DenoisingJob, _ graph: DenoisingGraph, to executable: any Executable) throws {
        try executable.write("latents", job.latents)
        let zeros = HostTensor(job.latents.shape, [Float](repeating: 0, count: job.latents.shape.count))
        for index in 1..<max(1, graph.states) { try executable.write(DenoisingGraph.stateName(index), zeros) }
        try executable.write("step", HostTensor([1], [Int32(0)]))
        try executable.write("timesteps", HostTensor([graph.steps], job.schedule.timesteps))
        try executable.write(
            "coefficients",
            graph.coefficients(
                job.schedule, guidanceScale: job.guidanceScale, guidanceRescale: job.guidanceRescale))
        if let noise = job.noise { try executable.write("noise", noise) }
    }

    private func writeInpainting(_ job: DenoisingJob, _ graph: DenoisingGraph, to executable: any Executable) throws {
        guard let inpainting = job.inpainting else { return }
        try executable.write("mask", inpainting.mask)
        try executable.write("known", inpainting.known)
        if graph.inpainting == .blended { try executable.write("known_noise", inpainting.noise) }
    }

    private func write(
        _ segment: Conditioning.Segment, _ job: DenoisingJob, _ graph: DenoisingGraph, to executable: any Executable
    ) throws {
        let embeddings = graph.guided ? [segment.negative ?? segment.positive, segment.positive] : [segment.positive]
        let rows = embeddings.flatMap { Array(repeating: $0, count: graph.pictures) }
        let channels = parts.unet.config.crossAttentionChannels
        try executable.write("context", HostTensor([graph.batch, graph.tokens, channels], rows.flatMap(\.context)))
        if let channels = parts.unet.config.timeConditionChannels {
            let embedding = GuidanceEmbedding.values(guidanceScale: job.guidanceScale, channels: channels)
            let rows = Array(repeating: embedding, count: graph.batch)
            try executable.write("guidance", HostTensor([graph.batch, channels], rows.flatMap { $0 }))
        }
        guard let added = graph.added else { return }
        let ids = graph.guided ? [job.timeIDs.negative, job.timeIDs.positive] : [job.timeIDs.positive]
        let idRows = ids.flatMap { Array(repeating: $0, count: graph.pictures) }
        try executable.write("text_embeds", HostTensor([graph.batch, added.textChannels], rows.flatMap(\.pooled)))
        try executable.write("time_ids", HostTensor([graph.batch * added.timeIDs], idRows.flatMap { $0 }))
    }
}

extension CalderaError {
    /// What to say where a part of a pipeline gives values that are not finite.
    /// - Parameter dtype: what the part computed in.
    static func notFinite(_ found: NonFiniteValue?, part: String, dtype: DType) -> CalderaError {
        let cause = found?.description ?? "A layer gives values that are not finite numbers"
        return CalderaError("\(cause) (\(part)): \(remedy(found?.cause, dtype)).")
    }

    private static func remedy(_ cause: NonFiniteValue.Cause?, _ dtype: DType) -> String {
        let again = "get the model's files, and those of its adapters, again"
        if case .weight = cause { return again }
        return dtype == .float32 ? again : "try --precision fp32, or \(again)"
    }
}
