import CalderaGraph
import CalderaModels

/// The graph of one sampler step: scale the latents, run the UNet, guide, update the latents, count the step.
///
/// Everything that a step needs from the host is written before the loop: the timesteps, the scheduler's coefficients,
/// the noise of every step, the prompt. A replay therefore needs no host work at all.
package struct DenoisingGraph: Hashable {
    /// Pictures that are made side by side.
    package let pictures: Int
    /// Latent height and width.
    package let height: Int
    package let width: Int
    package let steps: Int
    /// Text tokens, 77 for one chunk.
    package let tokens: Int
    /// Channels of the pooled text embedding, and numbers in the time ids; nil without added conditioning.
    package let added: Added?
    /// Whether classifier-free guidance runs, with the negative prompt in the first half of the batch.
    package let guided: Bool
    /// Whether the scheduler adds noise at each step.
    package let noisy: Bool

    package struct Added: Hashable {
        package let textChannels: Int
        package let timeIDs: Int

        package init(textChannels: Int, timeIDs: Int) {
            self.textChannels = textChannels
            self.timeIDs = timeIDs
        }
    }

    package init(
        pictures: Int, height: Int, width: Int, steps: Int, tokens: Int, added: Added?, guided: Bool, noisy: Bool
    ) {
        self.pictures = pictures
        self.height = height
        self.width = width
        self.steps = steps
        self.tokens = tokens
        self.added = added
        self.guided = guided
        self.noisy = noisy
    }

    /// The columns of the coefficient table, one row a step.
    enum Column: Int, CaseIterable {
        /// What the model's input is of the latents.
        case input
        /// What the next latents are of the latents, the unguided output, the prompted output and the noise.
        case latents, unguided, prompted, noise
    }

    /// The UNet's batch: pictures, twice under guidance.
    package var batch: Int { pictures * (guided ? 2 : 1) }

    /// Inputs, all written before the loop: `timesteps` fp32 [S]; `coefficients` fp32 [S, columns]; `context`
    /// [batch, T, C], the negative prompt's entries first; `text_embeds` [batch, P] and `time_ids` fp32 [batch·n] for
    /// SDXL; `noise` fp32 [S, pictures, h, w, c] where the scheduler draws any.
    /// States: `latents` fp32 [pictures, h, w, c], `step` int32 [1].
    package func build(_ unet: UNet, dtype: DType) throws -> Graph {
        let graph = Graph(dtype: dtype)
        let shape: Shape = [pictures, height, width, unet.config.inChannels]
        let latents = graph.state("latents", shape, .float32)
        let step = graph.state("step", [1], .int32)
        let coefficients = graph.input("coefficients", [steps, Column.allCases.count], .float32)
        let noise = noisy ? graph.input("noise", Shape([steps] + shape.extents), .float32) : nil

        var sample = try graph.weightedSum(
            [(Column.input.rawValue, latents)], coefficients: coefficients, step: step, dtype: dtype,
            label: "scale_model_input")
        if guided { sample = try graph.concat(sample, sample, axis: 0, label: "scale_model_input") }
        let output = try unet(graph, sample: sample, conditioning(graph, unet, step))
        let prediction = graph.cast(output, to: .float32, label: "guidance")

        var terms = [(Column.latents.rawValue, latents)]
        if guided { terms.append((Column.unguided.rawValue, try graph.slice(prediction, 0..<pictures))) }
        terms.append((Column.prompted.rawValue, try graph.slice(prediction, (batch - pictures)..<batch)))
        if let noise { terms.append((Column.noise.rawValue, try graph.select(noise, step, label: "scheduler"))) }
        let next = try graph.weightedSum(
            terms, coefficients: coefficients, step: step, dtype: .float32, label: "scheduler")
        try graph.assign(next, to: latents, label: "scheduler")
        try graph.assign(graph.increment(step, label: "scheduler"), to: step, label: "scheduler")
        return graph
    }

    private func conditioning(_ graph: Graph, _ unet: UNet, _ step: Tensor) -> UNet.Conditioning {
        let context = graph.input("context", [batch, tokens, unet.config.crossAttentionChannels], graph.dtype)
        let timesteps = graph.input("timesteps", [steps], .float32)
        let conditioning = added.map { added in
            UNet.AddedConditioning(
                textEmbeds: graph.input("text_embeds", [batch, added.textChannels], graph.dtype),
                timeIDs: graph.input("time_ids", [batch * added.timeIDs], .float32))
        }
        return UNet.Conditioning(timesteps: timesteps, step: step, context: context, added: conditioning)
    }

    /// The coefficient table of a schedule under a guidance scale g, where the guided output is
    /// (1 - g)·unguided + g·prompted; Ho and Salimans, "Classifier-Free Diffusion Guidance" (2022), equation 6, with the
    /// scale counted as Imagen and diffusers do.
    package func coefficients(_ schedule: Schedule, guidanceScale: Double) -> HostTensor {
        let scale = guided ? guidanceScale : 1
        let rows = schedule.steps.flatMap { step -> [Float] in
            var row = [Float](repeating: 0, count: Column.allCases.count)
            row[Column.input.rawValue] = Float(step.inputScale)
            row[Column.latents.rawValue] = Float(step.sample)
            row[Column.unguided.rawValue] = Float(step.output * (1 - scale))
            row[Column.prompted.rawValue] = Float(step.output * scale)
            row[Column.noise.rawValue] = Float(step.noise)
            return row
        }
        return HostTensor([schedule.steps.count, Column.allCases.count], rows)
    }
}
