import CalderaDiffusion
import CalderaFormats
import CalderaGraph
import CalderaModels
import CalderaText
import Foundation

/// A model, opened: configs read and checked, weights mapped.
package struct LoadedModel {
    package let source: any ModelSource
    package let parts: PipelineParts
    package let defaults: ModelDefaults
    /// The weights of `unet`, `text_encoder`, `text_encoder_2` that adapters may change.
    let switchable: [String: SwitchableWeights]

    /// The name under which pictures remember the model.
    package var name: String { source.name }
}

/// What a model's files say of a picture's size and sampling.
package struct ModelDefaults: Sendable, Equatable {
    package let width: Int
    package let height: Int
    package let steps: Int
    package let guidanceScale: Double
}

/// Opens models.
package struct ModelLoader {
    let source: any ModelSource
    /// Another autoencoder than the model's own.
    let autoencoder: String?
    let embeddings: [EmbeddingFile]

    /// Throws `CalderaError` when a file is missing or broken, parts do not fit each other, or a config asks for what
    /// Caldera does not compute.
    package static func open(_ options: ModelOptions) throws -> LoadedModel {
        try open(source(options), autoencoder: options.autoencoder, embeddings: options.embeddings)
    }

    /// The files of the model that is asked for.
    static func source(_ options: ModelOptions) throws -> any ModelSource {
        try ModelSources.open(
            try options.model ?? EmbeddedModel.path(), variant: options.variant, prediction: options.prediction,
            configs: options.configs, tokenizers: URL(fileURLWithPath: EmbeddedModel.path()))
    }

    /// The refiner of `options`, which shares the autoencoder that was asked for; nil where none was.
    static func openRefiner(_ options: ModelOptions) throws -> LoadedModel? {
        guard let path = options.refiner else { return nil }
        var refiner = options
        refiner.model = path
        // These are of the base model's files.
        refiner.configs = nil
        if !path.isFolder { refiner.variant = nil }
        return try open(refiner)
    }

    /// Opens a source of whatever kind. Throws as `open(_:)` does.
    package static func open(
        _ source: any ModelSource, autoencoder: String? = nil, embeddings: [String] = []
    ) throws -> LoadedModel {
        let loader = ModelLoader(
            source: source, autoencoder: autoencoder, embeddings: try embeddings.map(EmbeddingFile.init))
        let names = ["unet", "text_encoder", "text_encoder_2"].filter { source.components[$0] != nil }
        let switchable = Dictionary(
            uniqueKeysWithValues: try names.map { ($0, SwitchableWeights(try source.weights($0))) })
        let parts = try loader.parts(switchable)
        try parts.checkFit()
        return LoadedModel(
            source: source, parts: parts, defaults: try loader.defaults(parts), switchable: switchable)
    }

    private func parts(_ switchable: [String: SwitchableWeights]) throws -> PipelineParts {
        let family = try family()
        guard let unetWeights = switchable["unet"] else {
            throw CalderaError("\(source.path) has no UNet: it is no model that makes pictures.")
        }
        let coder = try AutoencoderLoader(source: source, path: autoencoder)
        return PipelineParts(
            family: family,
            encoders: try ["text_encoder", "text_encoder_2"].compactMap { name in
                try switchable[name].map { try encoder(name, $0) }
            },
            unet: UNet(try UNetConfig(source.config("unet"))), unetWeights: unetWeights,
            autoencoder: coder.autoencoder, autoencoderWeights: coder.weights,
            scheduler: try schedulerConfig(),
            forceZerosForEmptyPrompt: try source.flag(
                "force_zeros_for_empty_prompt", default: family == .stableDiffusionXL),
            requiresAestheticsScore: try source.flag("requires_aesthetics_score", default: false))
    }

    private func family() throws -> PipelineParts.Family {
        switch source.className {
        case "StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline", "StableDiffusionInpaintPipeline",
            "LatentConsistencyModelPipeline":
            return .stableDiffusion
        case "StableDiffusionXLPipeline", "StableDiffusionXLImg2ImgPipeline", "StableDiffusionXLInpaintPipeline":
            return .stableDiffusionXL
        case let other:
            throw CalderaError(
                "\(source.path) is a \(other), which Caldera does not run; it runs Stable Diffusion 1.x, 2.x and XL "
                    + "pipelines.")
        }
    }

    private func encoder(_ name: String, _ weights: SwitchableWeights) throws -> TextEncoderPart {
        let tokenizer = name.replacingOccurrences(of: "text_encoder", with: "tokenizer")
        return try TextEncoderLoader(
            name: name, config: CLIPTextConfig(source.config(name)), weights: weights,
            tokenizer: CLIPTokenizer(folder: source.tokenizer(tokenizer))
        ).part(with: embeddings)
    }

    private func schedulerConfig() throws -> SchedulerConfig {
        let config = try source.config("scheduler")
        return try SchedulerConfig(json: config.data(), path: config.path)
    }

    /// Sizes from the UNet's `sample_size`. Steps and guidance from Caldera's settings for the model, where there are some;
    /// otherwise what diffusers' pipeline class calls with.
    func defaults(_ parts: PipelineParts) throws -> ModelDefaults {
        let settings = try source.settings()
        let side = (parts.unet.config.sampleSize ?? 64) * parts.autoencoder.downscale
        let guidance = parts.family == .stableDiffusionXL ? 5.0 : 7.5
        return ModelDefaults(
            width: side, height: side, steps: try settings.int("steps", default: 50),
            guidanceScale: try settings.double("guidance_scale", default: guidance))
    }
}

extension String {
    /// Whether a folder is at this path.
    var isFolder: Bool {
        var isFolder: ObjCBool = false
        return FileManager.default.fileExists(atPath: self, isDirectory: &isFolder) && isFolder.boolValue
    }
}
