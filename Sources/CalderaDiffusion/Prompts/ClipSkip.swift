import CalderaGraph
import CalderaModels
import CalderaText

/// Which hidden state of the encoders a run takes instead of the one that the UNet was trained with. The two syntaxes
/// count unlike each other:
///
/// - `.plain`, as diffusers' `clip_skip`: k leaves out the last k layers for the prompt and none for the negative prompt.
///   SD 1.x and 2.x take `hidden_states[-(k + 1)]` with the final layer norm, SDXL `hidden_states[-(k + 2)]` without.
/// - `.webui`, as its "Clip skip": 1 is the last layer, 2 the penultimate, `hidden_states[-k]` with the final layer norm,
///   for both prompts. It counts for SD 1.x alone: OpenCLIP's encoders (SD 2.x) and SDXL take what they always take.
///
/// Reference: diffusers `encode_prompt` of StableDiffusionPipeline and StableDiffusionXLPipeline; stable-diffusion-webui
/// 1.10, `modules/sd_hijack_clip.py` and `sd_hijack_open_clip.py`, `encode_with_transformers`.
struct ClipSkip {
    let positive: CLIPText.HiddenState
    let negative: CLIPText.HiddenState
    /// Why the setting has no effect, where it has none.
    let warning: String?

    /// Throws a usage error where the setting is out of range for the model's encoders.
    init(_ skip: Int?, syntax: PromptSyntax, parts: PipelineParts) throws {
        let usual = parts.family.hiddenState
        let isCounted = syntax == .plain || Self.isOpenAI(parts)
        guard let skip else {
            self.init(positive: usual, negative: usual, warning: nil)
            return
        }
        let range = Self.range(syntax, parts)
        guard range.contains(skip) else {
            throw CalderaError.usage(
                "CLIP skip \(skip) is out of range: this model takes \(range.lowerBound) to \(range.upperBound) under the "
                    + "prompt syntax \(syntax.rawValue).")
        }
        guard isCounted else {
            let warning =
                "CLIP skip has no effect under the prompt syntax webui: it counts for Stable Diffusion 1 alone."
            self.init(positive: usual, negative: usual, warning: skip == 1 ? nil : warning)
            return
        }
        let layers = usual.skippedLayers + (syntax == .plain ? skip : skip - 1)
        let state = CLIPText.HiddenState(skippedLayers: layers, isNormalized: usual.isNormalized)
        self.init(positive: state, negative: syntax == .plain ? usual : state, warning: nil)
    }

    private init(positive: CLIPText.HiddenState, negative: CLIPText.HiddenState, warning: String?) {
        self.positive = positive
        self.negative = negative
        self.warning = warning
    }

    private static func range(_ syntax: PromptSyntax, _ parts: PipelineParts) -> ClosedRange<Int> {
        let layers = parts.encoders.map(\.model.config.layers).min() ?? 1
        return switch syntax {
        case .plain: 0...(layers - parts.family.hiddenState.skippedLayers)
        case .webui: 1...layers
        }
    }

    /// OpenAI's CLIP pads with the end of text, OpenCLIP's encoders with 0: the web UI wraps them in unlike classes.
    private static func isOpenAI(_ parts: PipelineParts) -> Bool {
        parts.family == .stableDiffusion && parts.encoders.allSatisfy { $0.tokenizer.pad == $0.tokenizer.endOfText }
    }
}
