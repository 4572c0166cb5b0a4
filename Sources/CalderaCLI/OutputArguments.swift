import ArgumentParser

/// What is made of the pictures.
struct OutputArguments: ParsableArguments {
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Pictures to draw, side by side where memory allows. (default: 1)", valueName: "number"),
        transform: Numbers.positive)
    var count: Int?

    @Option(
        name: .shortAndLong,
        help: ArgumentHelp(
            "A file that ends in .png, to be replaced if it exists (-1, -2, ... are added where there are several "
                + "pictures), or an existing folder. (default: a new name made of prompt and seed in this folder)",
            valueName: "path"))
    var output: String?

    @Option(
        help: ArgumentHelp(
            "Also write the latents as the last step left them: one fp32 tensor `latents` of [count, channels, "
                + "height/8, width/8]. (default: not written)", valueName: "file.safetensors"))
    var saveLatents: String?

    @Option(
        help: ArgumentHelp(
            "A small decoder, TAESD for SD or TAESDXL for SDXL, that shows the picture behind each step. "
                + "(default: no preview)", valueName: "path"))
    var preview: String?

    @Option(
        help: ArgumentHelp(
            "Where the preview is written, over and over. (default: caldera-preview.png in this folder)",
            valueName: "file.png"))
    var previewOutput: String?

    @Flag(help: "Print one JSON object with paths, seeds, settings, timings in seconds and peak memory instead.")
    var json = false

    var previewPath: String { previewOutput ?? "caldera-preview.png" }

    func validate() throws {
        if previewOutput != nil, preview == nil { throw ValidationError("--preview-output needs --preview.") }
    }
}
