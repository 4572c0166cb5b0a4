import ArgumentParser
import Caldera
import CalderaFormats
import CalderaGraph
import Foundation

/// `caldera generate`: prompt in, pictures out.
struct GenerateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "generate", abstract: "Draw pictures of what a text says.",
        discussion: "Prints the path of each picture, one a line.")

    @Argument(help: "What the picture shall show; quote it.")
    var prompt: String

    @Option(parsing: .unconditional, help: ArgumentHelp("What it shall not show. (default: none)", valueName: "text"))
    var negativePrompt: String?

    @Option(
        help: ArgumentHelp("A model folder in the diffusers layout. (default: the embedded model)", valueName: "path"))
    var model: String?

    @Option(help: ArgumentHelp("Which weight files to take, such as fp16. (default: plain ones, else what is there)"))
    var variant: String?

    @OptionGroup var size: SizeOptions

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Denoising steps. (default: the model's own)", valueName: "number"),
        transform: Numbers.positive)
    var steps: Int?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "How closely to follow the prompt; 1 or less switches guidance off. (default: the model's own)",
            valueName: "scale"),
        transform: Numbers.finite)
    var guidanceScale: Double?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "The first picture's seed, the same noise as torch's CPU generator; the next ones count up. "
                + "(default: drawn at random)", valueName: "number"),
        transform: Numbers.seed)
    var seed: UInt64?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Pictures to draw, side by side where memory allows. (default: 1)", valueName: "number"),
        transform: Numbers.positive)
    var count: Int?

    @Option(
        help: ArgumentHelp(
            "euler, euler_a, ddim, or diffusers' class name. (default: the model's own)", valueName: "name"))
    var scheduler: String?

    @OptionGroup var device: DeviceOptions

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

    @Flag(help: "Print one JSON object with paths, seeds, settings, timings in seconds and peak memory instead.")
    var json = false

    @OptionGroup var logging: LoggingOptions

    private var request: GenerationRequest {
        GenerationRequest(
            prompt: prompt, negativePrompt: negativePrompt, width: size.width, height: size.height, steps: steps,
            guidanceScale: guidanceScale, seed: seed, count: count ?? 1, scheduler: scheduler)
    }

    func run() throws {
        logging.bootstrap()
        let start = ContinuousClock.now
        let request = request
        let output = try OutputNaming(output, prompt: prompt, count: request.count)
        if let saveLatents { try OutputNaming.checkLatents(saveLatents) }
        let display = ProgressDisplay(pictures: request.count, plain: logging.verbose)
        let result = try generate(request, display)
        let paths = try save(result, output)
        guard json else { return }
        let total = (ContinuousClock.now - start) / .seconds(1)
        let report = GenerationReport(
            result, request: request, model: model, outputs: paths, latents: saveLatents, totalSeconds: total)
        try StandardStreams.print(JSONText.encode(report))
    }

    private func generate(_ request: GenerationRequest, _ display: ProgressDisplay) throws -> GenerationResult {
        defer { display.finish() }
        display.show(stage: "loading the model")
        let generator = try ImageGenerator(
            model: model, variant: variant, device: device.choice, precision: device.precision)
        try generator.validate(request)
        return try generator.generate(request) { display.update($0) }
    }

    /// Writes the latents, then each picture, and prints each path as soon as its file is there.
    private func save(_ result: GenerationResult, _ output: OutputNaming) throws -> [String] {
        if let saveLatents {
            try SafetensorsWriter.write([SafetensorsWriter.Tensor("latents", result.latents)], to: saveLatents)
        }
        return try result.images.enumerated().map { index, image in
            let path = output.path(index: index, seed: image.seed)
            try PNGFile.write(Self.picture(image), to: path)
            if !json { try StandardStreams.print(path) }
            return path
        }
    }

    /// The picture with its parameters where the web UI and its relatives look for them.
    private static func picture(_ image: GeneratedImage) -> PNGPicture {
        PNGPicture(
            width: image.width, height: image.height, rgb: image.rgb,
            text: [PNGPicture.Text(GenerationParameters.keyword, image.parameters)])
    }
}
