import ArgumentParser
import Caldera

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

    func apply(to request: inout UpsamplingRequest) {
        request.task = task
        request.target = target
        request.format = format
        request.bans = ban
    }
}

/// What a model with tasks is told beside the sentence and the tags.
struct UpsamplingFieldArguments: ParsableArguments {
    @Option(parsing: .unconditional, help: Self.help("The picture's quality, such as \"masterpiece, best quality\"."))
    var quality: String?

    @Option(parsing: .unconditional, help: Self.help("Its rating: safe, sensitive, nsfw or explicit."))
    var rating: String?

    @Option(parsing: .unconditional, help: Self.help("Its artists."))
    var artist: String?

    @Option(parsing: .unconditional, help: Self.help("The characters that it shows."))
    var characters: String?

    @Option(parsing: .unconditional, help: Self.help("The works that the characters are from."))
    var copyrights: String?

    @Option(parsing: .unconditional, help: Self.help("What is to say of the picture itself, such as \"highres\"."))
    var meta: String?

    @Option(
        help: ArgumentHelp("Its width divided by its height. (default: not told)", valueName: "ratio"),
        transform: Numbers.finite)
    var aspectRatio: Double?

    @Flag(help: "Let the model write meta fields as well.")
    var genMeta = false

    private static func help(_ text: String) -> ArgumentHelp {
        ArgumentHelp("\(text) (default: what --tags say)", valueName: "tags")
    }

    func apply(to request: inout UpsamplingRequest) {
        let values: [MetaField: String?] = [
            .quality: quality, .rating: rating, .artist: artist, .characters: characters, .copyrights: copyrights,
            .meta: meta,
        ]
        request.fields = values.compactMapValues { $0 }
        request.aspectRatio = aspectRatio
        request.makesFields = genMeta
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
