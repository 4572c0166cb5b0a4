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

    /// Writes what was asked for into a request.
    func apply(to request: inout GenerationRequest) {
        request.negativePrompt = negativePrompt
        request.promptSyntax = promptSyntax ?? .plain
        request.clipSkip = clipSkip
    }
}
