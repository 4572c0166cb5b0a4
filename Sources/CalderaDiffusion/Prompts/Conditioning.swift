import CalderaText

/// The prompts of a run and how they are to be read.
package struct ConditioningRequest: Sendable, Equatable {
    package var prompt: String
    /// Nil when there is none, which is not the same as an empty one (`force_zeros_for_empty_prompt`).
    package var negativePrompt: String?
    /// Whether the negative prompt is wanted at all.
    package var isGuided: Bool
    package var syntax: PromptSyntax
    /// See `ClipSkip`.
    package var clipSkip: Int?
    /// How often the UNet is evaluated: what a prompt's schedule counts. More than the sampler's steps for samplers that
    /// evaluate it twice in one.
    package var steps: Int

    package init(
        prompt: String, negativePrompt: String?, isGuided: Bool, syntax: PromptSyntax = .plain, clipSkip: Int? = nil,
        steps: Int
    ) {
        self.prompt = prompt
        self.negativePrompt = negativePrompt
        self.isGuided = isGuided
        self.syntax = syntax
        self.clipSkip = clipSkip
        self.steps = steps
    }
}

/// What the UNet is told of one prompt.
package struct PromptEmbedding: Sendable, Equatable {
    /// T: 77 for each chunk.
    package var tokens: Int
    /// [T, C] row-major: the token states of all encoders side by side.
    package var context: [Float]
    /// [P]: the pooled vector; empty for SD 1.x and 2.x.
    package var pooled: [Float]

    package init(tokens: Int, context: [Float], pooled: [Float]) {
        self.tokens = tokens
        self.context = context
        self.pooled = pooled
    }

    /// The embedding that stands for no prompt at all: zeros.
    package static func zeros(like embedding: PromptEmbedding) -> PromptEmbedding {
        PromptEmbedding(
            tokens: embedding.tokens, context: [Float](repeating: 0, count: embedding.context.count),
            pooled: [Float](repeating: 0, count: embedding.pooled.count))
    }

    /// This embedding with the tokens of `other` behind its own, as often as `tokens` needs.
    func padded(to tokens: Int, with other: PromptEmbedding?) -> PromptEmbedding {
        var copy = self
        while let other, copy.tokens < tokens {
            copy.context += other.context
            copy.tokens += other.tokens
        }
        return copy
    }
}

/// What the UNet is told in the course of a run. All embeddings have the same number of tokens, so that one compiled
/// graph serves them all.
package struct Conditioning: Sendable {
    /// Evaluations of the UNet that are told the same.
    package struct Segment: Sendable {
        /// The first evaluation, counted from 0, that this segment does not cover; the last segment's is all of them.
        package let end: Int
        package let positive: PromptEmbedding
        /// Nil without guidance.
        package let negative: PromptEmbedding?
    }

    /// In order, at least one.
    package let segments: [Segment]
    package let tokens: Int
    /// What the guidance scale is to be multiplied by: 1 but for prompts of the web UI that end in a weight.
    package let guidanceFactor: Double
    /// Sentences for the person who asked: what was cut off or left out.
    package let warnings: [String]

    /// The segment of an evaluation, counted from 0.
    package func segment(at evaluation: Int) -> Segment {
        segments.first { evaluation < $0.end } ?? segments[segments.count - 1]
    }
}
