import CalderaGraph
import CalderaModels

/// What the UNet is told of one prompt.
package struct PromptEmbedding: Sendable {
    /// [T, C] row-major: the token states of all encoders side by side.
    package var context: [Float]
    /// [P]: the pooled vector; empty for SD 1.x and 2.x.
    package var pooled: [Float]
}

/// Encodes prompts as diffusers' pipelines do (`encode_prompt` of StableDiffusionPipeline and
/// StableDiffusionXLPipeline). Weights are loaded for the call and released behind it.
struct PromptEncoder {
    let plans: PipelinePlans
    let backend: any Backend
    private var parts: PipelineParts { plans.parts }

    init(plans: PipelinePlans, backend: any Backend) {
        self.plans = plans
        self.backend = backend
    }

    /// One embedding for each prompt, in order.
    func encode(_ prompts: [String]) throws -> [PromptEmbedding] {
        let outputs = try parts.encoders.map { try encode(prompts, with: $0) }
        return prompts.indices.map { index in
            PromptEmbedding(
                context: joined(outputs.map { ($0.states, $0.width) }, entry: index, tokens: outputs[0].tokens),
                pooled: outputs.last?.pooled.map { entry($0, index, of: prompts.count) } ?? [])
        }
    }

    /// The embedding that stands for no prompt at all: zeros.
    static func zeros(like embedding: PromptEmbedding) -> PromptEmbedding {
        PromptEmbedding(
            context: [Float](repeating: 0, count: embedding.context.count),
            pooled: [Float](repeating: 0, count: embedding.pooled.count))
    }

    private struct Output {
        let states: [Float]
        let pooled: [Float]?
        let tokens: Int
        let width: Int
    }

    private func encode(_ prompts: [String], with part: TextEncoderPart) throws -> Output {
        let config = part.model.config
        let rows = prompts.map { part.tokenizer.tokens($0).ids }
        let tokens = rows.first?.count ?? 0
        guard let largest = rows.joined().max(), largest < config.vocabularySize else {
            throw CalderaError(
                "The tokenizer of \(part.name) gives ids beyond its encoder's \(config.vocabularySize) tokens: "
                    + "the two belong to different models.")
        }
        let plan = try plans.encoder(part, batch: prompts.count)
        let executable = try backend.load(plan, weights: part.weights, part: part.name)
        try executable.write("ids", HostTensor([prompts.count, tokens], Array(rows.joined())))
        if parts.family == .stableDiffusionXL, config.projection != nil {
            let positions = rows.map { Int32(config.endOfTextPosition($0)) }
            try executable.write("end_of_text", HostTensor([prompts.count], positions))
        }
        try executable.run(.prompt)
        let pooled = plan.outputs.contains { $0.name == "pooled" } ? try executable.read("pooled").floats : nil
        return Output(
            states: try executable.read("states").floats, pooled: pooled, tokens: tokens, width: config.hiddenSize)
    }

    private func entry(_ values: [Float], _ index: Int, of count: Int) -> [Float] {
        let size = values.count / count
        return Array(values[index * size..<(index + 1) * size])
    }

    /// The states of several encoders, side by side in the channels.
    private func joined(_ states: [(values: [Float], width: Int)], entry: Int, tokens: Int) -> [Float] {
        var context: [Float] = []
        for token in 0..<tokens {
            for (values, width) in states {
                let start = (entry * tokens + token) * width
                context += values[start..<start + width]
            }
        }
        return context
    }
}
