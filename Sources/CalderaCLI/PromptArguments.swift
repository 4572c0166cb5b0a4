import ArgumentParser
import Caldera
import CalderaText

extension PromptSyntax: ExpressibleByArgument {}

/// What to draw.
struct PromptArguments: ParsableArguments {
    @Argument(help: "What the picture shall show; quote it.")
    var prompt: String

    @Option(parsing: .unconditional, help: ArgumentHelp("What it shall not show. (default: none)", valueName: "text"))
    var negativePrompt: String?

    @Option(
        help: ArgumentHelp(
            "The folder in which <lora:NAME:WEIGHT> in a prompt finds its files. (default: such tags are an error)",
            valueName: "folder"))
    var loraFolder: String?

    @Option(
        help: ArgumentHelp(
            "How prompts are read: plain, as diffusers does, or webui, with (weights:1.2), [from:to:when], BREAK and any "
                + "length. (default: plain)", valueName: "syntax"))
    var promptSyntax: PromptSyntax?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "Layers of the text encoder to leave out, counted as diffusers does or, with webui syntax, as the web UI "
                + "(1 is none). (default: none)", valueName: "number"),
        transform: Numbers.positive)
    var clipSkip: Int?

    @Flag(
        help: ArgumentHelp(
            "Let a language model enrich the prompt first; --upsample=PATH names another than the embedded one, as in "
                + "caldera upsample --model."))
    var upsample = false

    /// What `--upsample=PATH` stands for; see `Program`.
    @Option(name: .customLong(Self.upsampleModelName), help: .hidden)
    var upsampleModel: String?

    static let upsampleModelName = "upsample-model"

    var upsamples: Bool { upsample || upsampleModel != nil }

    /// Writes what was asked for into a request.
    func apply(to request: inout GenerationRequest) {
        request.negativePrompt = negativePrompt
        request.promptSyntax = promptSyntax ?? .plain
        request.clipSkip = clipSkip
    }
}
