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

    /// Inputs `ids` int32 [B, T] and `end_of_text` int32 [B]; outputs `states` [B, T, C] and, for SDXL's second encoder,
    /// `pooled` [B, P].
    package func encoder(_ part: TextEncoderPart, batch: Int) throws -> Plan {
        let graph = Graph(dtype: precision.dtype)
        let ids = graph.input("ids", [batch, part.tokenizer.maxLength], .int32)
        let endOfText = graph.input("end_of_text", [batch], .int32)
        let output = try part.model(graph, ids: ids, endOfText: endOfText)
        switch parts.family {
        case .stableDiffusion:
            graph.output("states", output.lastHiddenState)
        case .stableDiffusionXL:
            graph.output("states", output.penultimate)
            if let embeds = output.textEmbeds { graph.output("pooled", embeds) }
        }
        return try checked(Planner.plan(graph, limits: limits), part.weights, part.name)
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
    /// Compiles a plan within the memory that is left: weights that do not fit stream.
    func load(_ plan: Plan, weights: any WeightSource, part: String) throws -> any Executable {
        do {
            return try compile(plan, weights: weights)
        } catch let error as CalderaError {
            throw CalderaError("The \(part) cannot run: \(error.message)", kind: error.kind)
        }
    }

    /// Throws before anything is allocated when a plan would not fit even with its weights streamed: a system that lends
    /// more memory than it has would end the process later, without a word.
    func checkRoom(for plan: Plan, part: String) throws {
        let least = plan.arenaSize + plan.persistentSize
        guard let available = availableMemory, least > available else { return }
        throw CalderaError(
            "The \(part) needs \(least >> 20) MiB at this size and \(name) has \(available >> 20) MiB left: "
                + "choose a smaller picture or count, or a lower precision.")
    }
}
