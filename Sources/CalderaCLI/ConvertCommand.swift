import ArgumentParser
import Caldera
import CalderaAdapters
import CalderaFormats
import CalderaGraph

/// `caldera convert`: a single file as a folder, a folder as a single file, or either in another type.
struct ConvertCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "convert",
        abstract: "Write a model as a single file or as a diffusers folder.",
        discussion: "Prints the path of what it wrote. It appears whole or not at all.")

    @Argument(
        help: ArgumentHelp("The model: a diffusers folder or a checkpoint file (.safetensors, .ckpt).", valueName: "in")
    )
    var input: String

    @Argument(
        help: ArgumentHelp(
            "A name that ends in .safetensors for a single file, to be replaced if it exists, or any other name for a new "
                + "folder.", valueName: "out"))
    var output: String

    @Option(help: ArgumentHelp("The type of the tensors. (default: each one's own)", valueName: "dtype"))
    var dtype: Precision?

    @OptionGroup(title: "Reading the model") var files: ModelFileArguments
    @OptionGroup(title: "LoRAs to merge into the weights") var adapters: AdapterArguments

    @Flag(help: "Print one JSON object instead.")
    var json = false

    @OptionGroup var logging: LoggingOptions

    func run() throws {
        logging.bootstrap()
        var options = ModelOptions(model: input)
        files.apply(to: &options)
        options.allowsPartialAdapters = adapters.loraAllowPartial
        let result = try Converter.convert(options, to: output, dtype: dtype, adapters: adapters.lora)
        for warning in result.warnings { StandardStreams.reportWarning(warning) }
        let report = ConversionReport(
            input: input, output: result.path, architecture: result.architecture, note: result.note,
            dtype: dtype?.rawValue, loras: adapters.lora.map(AdapterReport.init), warnings: result.warnings)
        try StandardStreams.print(json ? JSONText.encode(report) : result.path)
    }
}

/// What `caldera convert --json` prints.
private struct ConversionReport: Encodable {
    let input: String
    let output: String
    let architecture: String
    let note: String
    /// Null where each tensor kept its own type.
    @OrNull var dtype: String?
    let loras: [AdapterReport]
    let warnings: [String]
}
