import ArgumentParser
import Caldera
import CalderaAdapters
import CalderaFormats

extension CheckpointPrediction: ExpressibleByArgument {}

/// How a model's files are read.
struct ModelFileArguments: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Of a folder: which weight files to take, such as fp16. (default: plain ones, else what is there)"))
    var variant: String?

    @Option(
        help: ArgumentHelp(
            "What the UNet predicts, where the files do not say it or are wrong. (default: what they say)",
            valueName: "type"))
    var prediction: CheckpointPrediction?

    @Option(
        help: ArgumentHelp(
            "Of a checkpoint file whose layers are no published model's: a diffusers folder whose configs tell them. "
                + "(default: those of the architecture that the file is recognised as)", valueName: "folder"))
    var config: String?

    func apply(to options: inout ModelOptions) {
        options.variant = variant
        options.prediction = prediction
        options.configs = config
    }
}

/// Which model draws, and with which parts.
struct ModelArguments: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "A model: a folder in the diffusers layout, or a checkpoint file (.safetensors, .ckpt). "
                + "(default: the embedded model)", valueName: "path"))
    var model: String?

    @OptionGroup var files: ModelFileArguments

    @Option(
        help: ArgumentHelp(
            "Another autoencoder: a folder, a file, a checkpoint that holds one, or TAESD. (default: the model's own)",
            valueName: "path"))
    var vae: String?

    @Option(
        help: ArgumentHelp(
            "A textual-inversion embedding; give the option once for each. In the prompt it goes by its file's name, "
                + "or by the token that the file gives. "
                + "(default: none)", valueName: "path"))
    var embedding: [String] = []

    var options: ModelOptions {
        var options = ModelOptions(model: model)
        files.apply(to: &options)
        options.autoencoder = vae
        options.embeddings = embedding
        return options
    }
}

/// Low-rank adapters.
struct AdapterArguments: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "A LoRA (LoCon, LoHa, LoKr, DoRA) and its weight, or one each for the text encoders and the UNet as "
                + "PATH:TEXT,UNET; give the option once for each. (default: none, weight 1)",
            valueName: "path[:weight]"),
        transform: AdapterSpec.init(argument:))
    var lora: [AdapterSpec] = []

    @Flag(help: "Use a LoRA even if some of its tensors fit nothing in the model, and say which.")
    var loraAllowPartial = false
}

/// A second model for the last steps.
struct RefinerArguments: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "An SDXL refiner that finishes what the base model began. (default: none)", valueName: "path"))
    var refiner: String?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "The share of the steps after which the refiner takes over. (default: 0.8)", valueName: "fraction"),
        transform: Numbers.openFraction)
    var refinerStart: Double?

    func validate() throws {
        if refinerStart != nil, refiner == nil { throw ValidationError("--refiner-start needs --refiner.") }
    }
}
