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

    /// Input `latents` [1, h, w, c], divided by the scaling factor; output `picture` [1, H, W, 3].
    package func decoder(height: Int, width: Int) throws -> Plan {
        let config = parts.autoencoder.config
        // The config says where activations leave fp16's range; such a decoder runs in fp32 (diffusers `upcast_vae`).
        let graph = Graph(dtype: config.forceUpcast && precision == .fp16 ? .float32 : precision.dtype)
        let latents = graph.input("latents", [1, height, width, config.latentChannels], graph.dtype)
        graph.output("picture", try parts.autoencoder.decode(graph, latents: latents))
        return try checked(Planner.plan(graph, limits: limits), parts.autoencoderWeights, "vae")
    }

    /// The denoiser's graph for `pictures` side by side of the request's size.
    package func denoising(_ request: TextToImageRequest, schedule: Schedule, pictures: Int) -> DenoisingGraph {
        let scale = parts.autoencoder.config.downscale
        let added = DenoisingGraph.Added(
            textChannels: parts.encoders.last?.model.config.projection ?? 0, timeIDs: request.timeIDs.count)
        return DenoisingGraph(
            pictures: pictures, height: request.height / scale, width: request.width / scale,
            steps: schedule.steps.count, tokens: parts.encoders.first?.tokenizer.maxLength ?? 0,
            added: parts.unet.config.addsTextTime ? added : nil, guided: request.guided, noisy: schedule.usesNoise)
    }

    private func checked(_ plan: Plan, _ weights: any WeightSource, _ part: String) throws -> Plan {
        try plan.check(weights, part: part)
        return plan
    }
}

extension Plan {
    /// Bytes of weights, arena and persistent values.
    package var totalSize: Int { weightSize + arenaSize + persistentSize }
}

extension Backend {
    /// Compiles a plan that fits the memory which is left.
    func load(_ plan: Plan, weights: any WeightSource, part: String) throws -> any Executable {
        try checkRoom(for: plan, part: part)
        return try compile(plan, weights: weights)
    }

    /// Throws before anything is allocated when a plan does not fit: a system that lends more memory than it has would end
    /// the process later, without a word.
    func checkRoom(for plan: Plan, part: String) throws {
        guard let available = availableMemory, plan.totalSize > available else { return }
        throw CalderaError(
            "The \(part) needs \(plan.totalSize >> 20) MiB at this size and \(name) has \(available >> 20) MiB left: "
                + "choose a smaller picture or count, or a lower precision.")
    }
}
