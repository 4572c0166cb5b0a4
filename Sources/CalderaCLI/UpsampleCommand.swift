import ArgumentParser
import Caldera
import CalderaGraph

/// `caldera upsample`: short prompts become rich ones.
struct UpsampleCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "upsample", abstract: "Make a rich prompt of a few words, with a language model.",
        discussion: """
            Prints the prompt. Several (--count) are printed one a line. The embedded model knows the words that the \
            embedded picture model knows; TIPO's models (KBlueLeaf) know what Stable Diffusion's do, and have tasks, \
            targets and forms.
            """)

    @Argument(help: "A short sentence; quote it. May be left away where there are --tags or meta fields.")
    var prompt: String?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Tags with commas between them, besides the sentence. (default: none)", valueName: "tags"))
    var tags: String?

    @OptionGroup(title: "Model") var model: UpsamplingModelArguments
    @OptionGroup(title: "Task") var task: UpsamplingTaskArguments
    @OptionGroup(title: "Meta fields") var fields: UpsamplingFieldArguments
    @OptionGroup(title: "Sampling") var sampling: UpsamplingSamplingArguments
    @OptionGroup(title: "Device") var device: DeviceOptions

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Prompts with consecutive seeds. (default: 1)", valueName: "number"),
        transform: Numbers.positive)
    var count: Int?

    @Flag(help: "Print one JSON object instead, with the sections and the model's own words.")
    var json = false

    @OptionGroup var logging: LoggingOptions

    func run() throws {
        logging.bootstrap()
        var request = UpsamplingRequest(prompt: prompt ?? "", tags: tags ?? "")
        task.apply(to: &request)
        fields.apply(to: &request)
        sampling.apply(to: &request)
        request.count = count ?? 1
        let clock = ContinuousClock.now
        let upsampler = try PromptUpsampler(
            model: model.model, tagLists: model.tagLists, device: device.choice, precision: device.precision,
            memoryLimit: device.maxMemory)
        let loaded = ContinuousClock.now
        let display = StreamDisplay(isShown: !json && request.count == 1)
        let prompts = try upsampler.upsample(request) { _, text in display.show(text) }
        display.finish()
        if json {
            let report = UpsamplingReport(
                upsampler, prompts, loadSeconds: (loaded - clock) / .seconds(1),
                upsampleSeconds: (ContinuousClock.now - loaded) / .seconds(1))
            return try StandardStreams.print(JSONText.encode(report))
        }
        for prompt in prompts {
            try StandardStreams.print(prompts.count == 1 ? prompt.prompt : prompt.prompt.onOneLine)
        }
    }
}
