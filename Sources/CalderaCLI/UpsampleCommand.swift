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

    @Argument(help: "A short sentence; quote it. May be left away where there are --tags.")
    var prompt: String?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Tags with commas between them, besides the sentence. (default: none)", valueName: "tags"))
    var tags: String?

    @OptionGroup(title: "Model") var model: UpsamplingModelArguments
    @OptionGroup(title: "Task") var task: UpsamplingTaskArguments
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

/// Which language model.
struct UpsamplingModelArguments: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "A LLaMA model for prompts, such as TIPO's: a folder of transformers', or a GGUF file. "
                + "(default: the embedded one)", valueName: "path"))
    var model: String?

    @Option(
        help: ArgumentHelp(
            "A folder with copyrights.txt, meta.txt, artist.txt and characters.txt, one tag a line, by which tags are "
                + "told apart (tipo-kgen's folder tag-list). (default: such tags are general ones)",
            valueName: "folder"))
    var tagLists: String?
}

/// What a model with tasks is asked for.
struct UpsamplingTaskArguments: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "What is made of what, by TIPO's names: tag_to_long, long_to_tag, short_to_tag_to_long and so on. "
                + "(default: what fits the sentence and the tags)", valueName: "task"))
    var task: String?

    @Option(
        help: ArgumentHelp(
            "How much is wanted: very_short, short, long or very_long. (default: long)", valueName: "length"))
    var target: String?

    @Option(
        help: ArgumentHelp(
            "How the prompt is put together: tags, text, tags-first, text-first, both-texts, or a template with "
                + "placeholders, such as \"<|special|>, <|general|>\". (default: tags-first)", valueName: "form"))
    var format: String?

    @Option(
        parsing: .unconditionalSingleValue,
        help: ArgumentHelp(
            "Leave out tags that hold this text or match it as a pattern; give the option once for each. "
                + "(default: none)", valueName: "pattern"))
    var ban: [String] = []

    @Option(
        help: ArgumentHelp(
            "The picture's width divided by its height, which the model is told. (default: not told)",
            valueName: "ratio"),
        transform: Numbers.finite)
    var aspectRatio: Double?

    func apply(to request: inout UpsamplingRequest) {
        request.task = task
        request.target = target
        request.format = format
        request.bans = ban
        request.aspectRatio = aspectRatio
    }
}

/// How the model's words are drawn.
struct UpsamplingSamplingArguments: ParsableArguments {
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("The first prompt's seed. (default: a random one)", valueName: "number"),
        transform: Numbers.seed)
    var seed: UInt64?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Above 0: how far from the likeliest words. (default: 0.35)", valueName: "number"),
        transform: Numbers.finite)
    var temperature: Double?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "Only the likeliest tokens that together have this probability. (default: 0.95)", valueName: "number"),
        transform: Numbers.fraction)
    var topP: Double?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Only so many of the likeliest tokens. (default: 60)", valueName: "number"),
        transform: Numbers.positive)
    var topK: Int?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "Only tokens with at least this share of the likeliest one's probability. (default: 0.1)",
            valueName: "number"),
        transform: Numbers.fraction)
    var minP: Double?

    func apply(to request: inout UpsamplingRequest) {
        request.seed = seed
        request.temperature = temperature
        request.topP = topP
        request.topK = topK
        request.minP = minP
    }
}
