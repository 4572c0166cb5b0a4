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
    /// Whether the scheduler adds noise.
    package let noisy: Bool
    /// Tensors of the latents' shape that the scheduler keeps from step to step, the latents included.
    package let states: Int

    package struct Added: Hashable {
        package let textChannels: Int
        package let timeIDs: Int

        package init(textChannels: Int, timeIDs: Int) {
            self.textChannels = textChannels
            self.timeIDs = timeIDs
        }
    }

    package init(
        pictures: Int, height: Int, width: Int, steps: Int, tokens: Int, added: Added?, guided: Bool, noisy: Bool,
        states: Int = 1
    ) {
        self.pictures = pictures
        self.height = height
        self.width = width
        self.steps = steps
        self.tokens = tokens
        self.added = added
        self.guided = guided
        self.noisy = noisy
        self.states = states
    }

    private var table: CoefficientTable { CoefficientTable(states: states) }

    /// The UNet's batch: pictures, twice under guidance.
    package var batch: Int { pictures * (guided ? 2 : 1) }

    /// Inputs, all written before the loop: `timesteps` fp32 [S]; `coefficients` fp32 [S, columns]; `context`
    /// [batch, T, C], the negative prompt's entries first; `text_embeds` [batch, P] and `time_ids` fp32 [batch·n] for
    /// SDXL; `noise` fp32 [S, pictures, h, w, c] where the scheduler draws any.
    /// States: `latents` fp32 [pictures, h, w, c], `state1`... of the same shape where the scheduler remembers earlier
    /// steps, `step` int32 [1].
    package func build(_ unet: UNet, dtype: DType) throws -> Graph {
        let graph = Graph(dtype: dtype)
        let loop = Loop(
            graph: graph, step: graph.state("step", [1], .int32),
            coefficients: graph.input("coefficients", [steps, table.columns], .float32))
        let shape: Shape = [pictures, height, width, unet.config.inChannels]
        let kept = (0..<states).map { graph.state(Self.stateName($0), shape, .float32) }
        let noise = noisy ? graph.input("noise", Shape([steps] + shape.extents), .float32) : nil

        var sample = try loop.sum([(table.input, kept[0])], dtype: dtype, label: "scale_model_input")
        if guided { sample = try graph.concat(sample, sample, axis: 0, label: "scale_model_input") }
        let output = try unet(graph, sample: sample, conditioning(graph, unet, loop.step))
        let prediction = try guide(loop, graph.cast(output, to: .float32, label: "guidance"))

        let drawn = try noise.map { try graph.select($0, loop.step, label: "scheduler") }
        let next = try kept.indices.map { target in
            var terms = kept.enumerated().map { (table.state($0.offset, of: target), $0.element) }
            terms.append((table.output(of: target), prediction))
            if let drawn { terms.append((table.noise(of: target), drawn)) }
            return try loop.sum(terms, dtype: .float32, label: "scheduler")
        }
        for (state, value) in zip(kept, next) { try graph.assign(value, to: state, label: "scheduler") }
        try graph.assign(graph.increment(loop.step, label: "scheduler"), to: loop.step, label: "scheduler")
        return graph
    }

    /// The name of a state of the sampling loop.
    static func stateName(_ index: Int) -> String { index == 0 ? "latents" : "state\(index)" }

    /// The graph under construction, and the row of coefficients that the current step reads.
    private struct Loop {
        let graph: Graph
        let step: Tensor
        let coefficients: Tensor

        func sum(_ terms: [(column: Int, source: Tensor)], dtype: DType, label: String) throws -> Tensor {
            try graph.weightedSum(terms, coefficients: coefficients, step: step, dtype: dtype, label: label)
        }
    }

    /// fp32 [batch, h, w, c] -> the guided output [pictures, h, w, c].
    private func guide(_ loop: Loop, _ output: Tensor) throws -> Tensor {
        guard guided else { return output }
        let unguided = try loop.graph.slice(output, 0..<pictures)
        let prompted = try loop.graph.slice(output, pictures..<batch)
        return try loop.sum(
            [(table.unguided, unguided), (table.prompted, prompted)], dtype: .float32, label: "guidance")
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

    /// The values of `coefficients`.
    package func coefficients(_ schedule: Schedule, guidanceScale: Double) -> HostTensor {
        table.rows(schedule, guidanceScale: guidanceScale, guidanceRescale: 0)
    }
}
