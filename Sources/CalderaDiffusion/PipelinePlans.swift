import CalderaGraph
import CalderaModels

/// The plans of a pipeline's parts for one precision and one kind of device: what runs, and what memory it needs, before
/// any of it is loaded.
package struct PipelinePlans {
    package let parts: PipelineParts
    package let precision: Precision
    package let limits: PlanLimits

    package init(parts: PipelineParts, precision: Precision, limits: PlanLimits) {
        self.parts = parts
        self.precision = precision
        self.limits = limits
    }

    /// Inputs `ids` int32 [B, T] and, where there is a pooled output, `end_of_text` int32 [B]; outputs `states.0`,
    /// `states.1`, ... [B, T, C], one for each of `states`, and for SDXL's second encoder `pooled` [B, P].
    /// - Parameter states: nil for the one that the family's UNet was trained with.
    package func encoder(
        _ part: TextEncoderPart, batch: Int, states: [CLIPText.HiddenState]? = nil
    ) throws -> Plan {
        let graph = Graph(dtype: precision.dtype)
        let ids = graph.input("ids", [batch, part.tokenizer.maxLength], .int32)
        let endOfText = givesPooled(part) ? graph.input("end_of_text", [batch], .int32) : nil
        let output = try part.model(graph, ids: ids, endOfText: endOfText)
        for (index, state) in (states ?? [parts.family.hiddenState]).enumerated() {
            graph.output("states.\(index)", try part.model.state(state, of: output, in: graph))
        }
        if let embeds = output.textEmbeds { graph.output("pooled", embeds) }
        return try checked(Planner.plan(graph, limits: limits), part.weights, part.name)
    }

    /// Whether the pipeline takes a pooled embedding from this encoder.
    package func givesPooled(_ part: TextEncoderPart) -> Bool {
        parts.family == .stableDiffusionXL && part.model.config.projection != nil
    }

    /// See `DenoisingGraph.build`.
    package func denoiser(_ denoising: DenoisingGraph) throws -> Plan {
        let graph = try denoising.build(parts.unet, dtype: precision.dtype)
        return try checked(Planner.plan(graph, limits: limits), parts.unetWeights, "unet")
    }

    /// Input `latents` [1, h, w, c] in the autoencoder's scale; output `picture` [1, H, W, 3].
    func decoderGraph(height: Int, width: Int, dtype: DType) throws -> Graph {
        let graph = Graph(dtype: dtype)
        let latents = graph.input("latents", [1, height, width, parts.autoencoder.latentChannels], dtype)
        graph.output("picture", try parts.autoencoder.decode(graph, latents: latents))
        return graph
    }

    /// Input `picture` [1, H, W, 3]; output `moments` [1, h, w, 2c] (a tiny autoencoder's has c channels).
    func pictureEncoderGraph(height: Int, width: Int, dtype: DType) throws -> Graph {
        let graph = Graph(dtype: dtype)
        let picture = graph.input("picture", [1, height, width, 3], dtype)
        graph.output("moments", try parts.autoencoder.encode(graph, picture: picture))
        return graph
    }

    /// See `decoderGraph`.
    package func decoder(height: Int, width: Int, dtype: DType) throws -> Plan {
        try autoencoderPlan(decoderGraph(height: height, width: width, dtype: dtype))
    }

    /// See `pictureEncoderGraph`.
    package func pictureEncoder(height: Int, width: Int, dtype: DType) throws -> Plan {
        try autoencoderPlan(pictureEncoderGraph(height: height, width: width, dtype: dtype))
    }

    func autoencoderPlan(_ graph: Graph) throws -> Plan {
        try checked(Planner.plan(graph, limits: limits), parts.autoencoderWeights, "vae")
    }

    /// What the autoencoder computes in: its config says where activations leave fp16's range, and then it is fp32
    /// (diffusers `upcast_vae`).
    package var autoencoderDType: DType {
        parts.autoencoder.overflowsHalf && precision == .fp16 ? .float32 : precision.dtype
    }

    /// The denoiser's graph for `pictures` side by side of the request's size, with prompts of one chunk.
    package func denoising(_ request: PipelineRequest, schedule: Schedule, pictures: Int) -> DenoisingGraph {
        let scale = parts.autoencoder.downscale
        return DenoisingGraph(
            pictures: pictures, height: request.height / scale, width: request.width / scale,
            steps: schedule.steps.count, tokens: parts.encoders.first?.tokenizer.maxLength ?? 0,
            added: added(parts.timeIDs(request).positive), guided: parts.guides(request),
            rescaled: parts.guides(request) && request.guidanceRescale > 0, noisy: schedule.usesNoise,
            states: schedule.stateCount, inpainting: inpainting(request.source?.mask != nil), previews: false)
    }

    /// The graph that a job runs on.
    func denoising(_ job: DenoisingJob) -> DenoisingGraph {
        DenoisingGraph(
            pictures: job.latents.shape[0], height: job.latents.shape[1], width: job.latents.shape[2],
            steps: job.schedule.steps.count, tokens: job.conditioning.tokens, added: added(job.timeIDs.positive),
            guided: job.guided, rescaled: job.guided && job.guidanceRescale > 0, noisy: job.noise != nil,
            states: job.schedule.stateCount, inpainting: inpainting(job.inpainting != nil), previews: job.previews)
    }

    private func added(_ timeIDs: [Float]) -> DenoisingGraph.Added? {
        guard parts.unet.config.addsTextTime else { return nil }
        return DenoisingGraph.Added(
            textChannels: parts.encoders.last?.model.config.projection ?? 0, timeIDs: timeIDs.count)
    }

    private func inpainting(_ isMasked: Bool) -> DenoisingGraph.Inpainting {
        isMasked ? (parts.takesMask ? .concatenated : .blended) : .none
    }

    private func checked(_ plan: Plan, _ weights: any WeightSource, _ part: String) throws -> Plan {
        try plan.check(weights, part: part)
        var plan = plan
        plan.part = part
        return plan
    }
}

extension Plan {
    /// Bytes of weights, arena and persistent values.
    package var totalSize: Int { weightSize + arenaSize + persistentSize }
}

extension Backend {
    /// Compiles a plan within the memory that is left: weights that do not fit stream.
    func load(_ plan: Plan, weights: any WeightSource, part: String) throws -> any Executable {
        try load(plan, weights: weights, part: part, budget: availableMemory)
    }

    /// Compiles a plan within `budget` bytes; nil for no bound.
    func load(_ plan: Plan, weights: any WeightSource, part: String, budget: Int?) throws -> any Executable {
        do {
            return try compile(plan, weights: weights, budget: budget)
        } catch let error as CalderaError {
            throw CalderaError("The \(part) cannot run: \(error.message)", kind: error.kind)
        }
    }
}
