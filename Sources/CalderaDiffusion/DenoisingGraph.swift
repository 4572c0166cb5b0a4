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
    /// Text tokens: 77 for each chunk of the prompt.
    package let tokens: Int
    /// Channels of the pooled text embedding, and numbers in the time ids; nil without added conditioning.
    package let added: Added?
    /// Whether classifier-free guidance runs, with the negative prompt in the first half of the batch.
    package let guided: Bool
    /// Whether the guided output is rescaled.
    package let rescaled: Bool
    /// Whether the scheduler adds noise.
    package let noisy: Bool
    /// Tensors of the latents' shape that the scheduler keeps from step to step, the latents included.
    package let states: Int
    package let inpainting: Inpainting
    /// Whether each step also leaves its estimate of the picture.
    package let previews: Bool

    package struct Added: Hashable {
        package let textChannels: Int
        package let timeIDs: Int
    }

    /// How a part of the picture is kept.
    package enum Inpainting: Hashable {
        case none
        /// The known part is put back, at the right noise level, behind every step.
        case blended
        /// The UNet takes the mask and the latents of the known part as further channels.
        case concatenated
    }

    private var table: CoefficientTable { CoefficientTable(states: states) }

    /// The UNet's batch: pictures, twice under guidance.
    package var batch: Int { pictures * (guided ? 2 : 1) }

    /// Inputs, all written before the loop: `timesteps` fp32 [S]; `coefficients` fp32 [S, columns]; `context`
    /// [batch, T, C], the negative prompt's entries first; `text_embeds` [batch, P] and `time_ids` fp32 [batch·n] for
    /// SDXL; `guidance` [batch, n] for distilled UNets; `noise` fp32 [S, pictures, h, w, c] where the scheduler draws any; `mask` fp32 [1, h, w, 1] and `known` fp32
    /// [pictures, h, w, c] where a part of the picture stays, with `known_noise` of the same shape for blending.
    /// States: `latents` fp32 [pictures, h, w, c], `state1`... of the same shape where the scheduler remembers earlier
    /// steps, `step` int32 [1]. Output `preview`, of the latents' shape, where asked for.
    package func build(_ unet: UNet, dtype: DType) throws -> Graph {
        let graph = Graph(dtype: dtype)
        let loop = Loop(
            graph: graph, step: graph.state("step", [1], .int32),
            coefficients: graph.input("coefficients", [steps, table.columns], .float32))
        let shape: Shape = [pictures, height, width, unet.config.outChannels]
        let kept = (0..<states).map { graph.state(Self.stateName($0), shape, .float32) }
        let masked = inpainting == .none ? nil : maskInputs(graph, shape)

        let sample = try modelInput(loop, kept[0], masked, dtype)
        let output = try unet(graph, sample: sample, conditioning(graph, unet, loop.step))
        let prediction = try guide(loop, graph.cast(output, to: .float32, label: "guidance"))
        if previews {
            let terms = [(table.previewLatents, kept[0]), (table.previewOutput, prediction)]
            graph.output("preview", try loop.sum(terms, dtype: .float32, label: "preview"))
        }
        var next = try updates(loop, kept, prediction)
        if let masked, inpainting == .blended { next[0] = try putBack(loop, masked, next[0]) }
        for (state, value) in zip(kept, next) { try graph.assign(value, to: state, label: "scheduler") }
        try graph.assign(graph.increment(loop.step, label: "scheduler"), to: loop.step, label: "scheduler")
        return graph
    }

    /// The name of a state of the sampling loop.
    static func stateName(_ index: Int) -> String { index == 0 ? "latents" : "state\(index)" }

    /// What the input `coefficients` holds for a run of `schedule` under a guidance scale.
    package func coefficients(_ schedule: Schedule, guidanceScale: Double, guidanceRescale: Double) -> HostTensor {
        table.rows(schedule, guidanceScale: guidanceScale, guidanceRescale: guidanceRescale)
    }

    // MARK: Pieces of a step

    /// The graph under construction, and the row of coefficients that the current step reads.
    private struct Loop {
        let graph: Graph
        let step: Tensor
        let coefficients: Tensor

        func sum(_ terms: [(column: Int, source: Tensor)], dtype: DType, label: String) throws -> Tensor {
            try graph.weightedSum(terms, coefficients: coefficients, step: step, dtype: dtype, label: label)
        }
    }

    private struct MaskInputs {
        let mask: Tensor
        let known: Tensor
        /// What `known` is noised with; nil where it is not.
        let noise: Tensor?
    }

    private func maskInputs(_ graph: Graph, _ shape: Shape) -> MaskInputs {
        MaskInputs(
            mask: graph.input("mask", [1, height, width, 1], .float32), known: graph.input("known", shape, .float32),
            noise: inpainting == .blended ? graph.input("known_noise", shape, .float32) : nil)
    }

    /// The scaled latents, with the mask and the known part behind them where the UNet takes those.
    private func modelInput(_ loop: Loop, _ latents: Tensor, _ masked: MaskInputs?, _ dtype: DType) throws -> Tensor {
        let label = "scale_model_input"
        let graph = loop.graph
        var sample = try loop.sum([(table.input, latents)], dtype: dtype, label: label)
        if let masked, inpainting == .concatenated {
            var mask = graph.cast(masked.mask, to: dtype, label: label)
            let single = mask
            for _ in 1..<pictures { mask = try graph.concat(mask, single, axis: 0, label: label) }
            let known = graph.cast(masked.known, to: dtype, label: label)
            sample = try graph.concat(sample, graph.concat(mask, known, axis: 3, label: label), axis: 3, label: label)
        }
        return guided ? try graph.concat(sample, sample, axis: 0, label: label) : sample
    }

    private func conditioning(_ graph: Graph, _ unet: UNet, _ step: Tensor) -> UNet.Conditioning {
        let context = graph.input("context", [batch, tokens, unet.config.crossAttentionChannels], graph.dtype)
        let timesteps = graph.input("timesteps", [steps], .float32)
        // What a distilled UNet knows the guidance scale by.
        let guidance = unet.config.timeConditionChannels.map {
            graph.input("guidance", [batch, $0], graph.dtype)
        }
        let conditioning = added.map { added in
            UNet.AddedConditioning(
                textEmbeds: graph.input("text_embeds", [batch, added.textChannels], graph.dtype),
                timeIDs: graph.input("time_ids", [batch * added.timeIDs], .float32))
        }
        return UNet.Conditioning(
            timesteps: timesteps, step: step, context: context, added: conditioning,
            timestepCondition: guidance)
    }

    /// fp32 [batch, h, w, c] -> the guided output [pictures, h, w, c].
    private func guide(_ loop: Loop, _ output: Tensor) throws -> Tensor {
        guard guided else { return output }
        let unguided = try loop.graph.slice(output, 0..<pictures)
        let prompted = try loop.graph.slice(output, pictures..<batch)
        let result = try loop.sum(
            [(table.unguided, unguided), (table.prompted, prompted)], dtype: .float32, label: "guidance")
        guard rescaled else { return result }
        return try loop.graph.rescale(
            guided: result, prompted: prompted, coefficients: loop.coefficients, column: table.rescale,
            step: loop.step, label: "guidance_rescale")
    }

    /// The next value of each state.
    private func updates(_ loop: Loop, _ kept: [Tensor], _ prediction: Tensor) throws -> [Tensor] {
        let label = "scheduler"
        let shape = Shape([steps] + prediction.shape.extents)
        let drawn =
            noisy
            ? try loop.graph.select(loop.graph.input("noise", shape, .float32), loop.step, label: label) : nil
        return try kept.indices.map { target in
            var terms = kept.enumerated().map { (table.state($0.offset, of: target), $0.element) }
            terms.append((table.output(of: target), prediction))
            if let drawn { terms.append((table.noise(of: target), drawn)) }
            return try loop.sum(terms, dtype: .float32, label: label)
        }
    }

    /// The known part at the noise level of the latents, outside of the mask.
    private func putBack(_ loop: Loop, _ masked: MaskInputs, _ latents: Tensor) throws -> Tensor {
        var terms = [(table.knownImage, masked.known)]
        if let noise = masked.noise { terms.append((table.knownNoise, noise)) }
        let known = try loop.sum(terms, dtype: .float32, label: "inpainting")
        return try loop.graph.blend(known, latents, mask: masked.mask, label: "inpainting")
    }
}
