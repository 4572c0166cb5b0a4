import CalderaGraph
import CalderaModels
import CalderaText

/// The prompts of one run: what has to be encoded, and which hidden state is taken of it.
struct RunPrompts {
    struct Side {
        let timeline: PromptTimeline
        let state: CLIPText.HiddenState
    }

    let positive: Side
    /// Nil without guidance, and where the negative prompt is zeros.
    let negative: Side?
    /// Whether the negative prompt's embedding is zeros rather than anything encoded.
    let negativeIsZero: Bool
    let guidanceFactor: Double
    let warnings: [String]

    /// Those that are encoded.
    var sides: [Side] { [positive] + (negative.map { [$0] } ?? []) }

    init(_ request: ConditioningRequest, parts: PipelineParts) throws {
        guard request.steps >= 1 else { throw CalderaError.usage("At least one step is needed.") }
        let skip = try ClipSkip(request.clipSkip, syntax: request.syntax, parts: parts)
        let negativeText = request.negativePrompt ?? ""
        let negative: PromptTimeline
        switch request.syntax {
        case .plain:
            positive = Side(timeline: PromptTimeline(request.prompt, steps: request.steps), state: skip.positive)
            negative = PromptTimeline(negativeText, steps: request.steps)
            negativeIsZero =
                request.isGuided && request.negativePrompt == nil && parts.forceZerosForEmptyPrompt && parts.isXL
            guidanceFactor = 1
            warnings = Self.truncations(request, parts)
        case .webui:
            let prompt = try WebUIPrompt(request.prompt)
            positive = Side(
                timeline: try PromptTimeline(scheduled: prompt.text, steps: request.steps), state: skip.positive)
            negative = try PromptTimeline(scheduled: negativeText, steps: request.steps)
            // `sd_models_xl.get_learned_conditioning` of the web UI, whatever the model's config says.
            negativeIsZero = request.isGuided && negativeText.isEmpty && parts.isXL
            guidanceFactor = prompt.guidanceFactor
            warnings = skip.warning.map { [$0] } ?? []
        }
        let isEncoded = request.isGuided && !negativeIsZero
        self.negative = isEncoded ? Side(timeline: negative, state: skip.negative) : nil
    }

    private static func truncations(_ request: ConditioningRequest, _ parts: PipelineParts) -> [String] {
        var warnings: [String] = []
        let negative = request.isGuided ? request.negativePrompt : nil
        for (name, text) in [("prompt", request.prompt), ("negative prompt", negative ?? "")] {
            for part in parts.encoders {
                guard let rest = part.tokenizer.truncatedText(text) else { continue }
                let warning =
                    "The \(name) is longer than the text encoder's \(part.tokenizer.maxLength) tokens; this was left out: "
                    + rest
                if !warnings.contains(warning) { warnings.append(warning) }
            }
        }
        return warnings
    }
}

extension PipelineParts {
    fileprivate var isXL: Bool { family == .stableDiffusionXL }
}
