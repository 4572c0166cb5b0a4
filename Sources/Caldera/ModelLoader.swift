import CalderaDiffusion
import CalderaFormats
import CalderaGraph
import CalderaModels
import CalderaText
import Foundation

/// A model in the diffusers folder layout, opened: configs read and checked, weights mapped.
package struct LoadedModel {
    package let folder: ModelFolder
    package let parts: PipelineParts
    package let defaults: ModelDefaults

    /// The name under which pictures remember the model.
    package var name: String { URL(fileURLWithPath: folder.path).lastPathComponent }
}

/// What a model's files say of a picture's size and sampling.
package struct ModelDefaults: Sendable, Equatable {
    package let width: Int
    package let height: Int
    package let steps: Int
    package let guidanceScale: Double
}

/// Opens model folders.
package struct ModelLoader {
    let folder: ModelFolder
    let variant: String?

    /// Throws `CalderaError` when a file is missing or broken, or a config asks for what Caldera does not compute.
    package static func open(_ path: String, variant: String?) throws -> LoadedModel {
        let loader = ModelLoader(folder: try ModelFolder(path), variant: variant)
        let parts = try loader.parts()
        return LoadedModel(folder: loader.folder, parts: parts, defaults: try loader.defaults(parts))
    }

    func parts() throws -> PipelineParts {
        let family = try family()
        let names = family == .stableDiffusionXL ? ["text_encoder", "text_encoder_2"] : ["text_encoder"]
        return PipelineParts(
            family: family, encoders: try names.filter { folder.components[$0] != nil }.map(encoder),
            unet: UNet(try UNetConfig(folder.config("unet"))),
            unetWeights: try folder.weights("unet", variant: variant),
            autoencoder: AutoencoderKL(try AutoencoderConfig(folder.config("vae"))),
            autoencoderWeights: RenamedWeights.autoencoder(try folder.weights("vae", variant: variant)),
            scheduler: try schedulerConfig(),
            forceZerosForEmptyPrompt: try folder.flag("force_zeros_for_empty_prompt", default: true))
    }

    private func family() throws -> PipelineParts.Family {
        switch folder.className {
        case "StableDiffusionPipeline": return .stableDiffusion
        case "StableDiffusionXLPipeline": return .stableDiffusionXL
        case "StableDiffusionXLImg2ImgPipeline":
            throw CalderaError(
                "\(folder.path) is a refiner (StableDiffusionXLImg2ImgPipeline): it changes pictures and cannot make one "
                    + "from a prompt alone; name a base model.")
        case let other:
            throw CalderaError(
                "\(folder.path) is a \(other), which Caldera does not run; it runs StableDiffusionPipeline and "
                    + "StableDiffusionXLPipeline.")
        }
    }

    private func encoder(_ name: String) throws -> TextEncoderPart {
        let weights = try folder.weights(name, variant: variant)
        let prefix = weights.info("text_model.final_layer_norm.weight") == nil ? "" : "text_model"
        let tokenizer = name.replacingOccurrences(of: "text_encoder", with: "tokenizer")
        return TextEncoderPart(
            name: name, model: CLIPText(try CLIPTextConfig(folder.config(name)), prefix: prefix), weights: weights,
            tokenizer: try CLIPTokenizer(folder: URL(fileURLWithPath: try folder.folder(tokenizer))))
    }

    private func schedulerConfig() throws -> SchedulerConfig {
        let path = URL(fileURLWithPath: try folder.folder("scheduler"))
            .appendingPathComponent("scheduler_config.json").path
        return try SchedulerConfig(json: ConfigFile.read(path), path: path)
    }

    /// Sizes from the UNet's `sample_size`. Steps and guidance from `caldera.json` beside `model_index.json`, where the
    /// model has one; otherwise what diffusers' pipeline class calls with.
    func defaults(_ parts: PipelineParts) throws -> ModelDefaults {
        let path = URL(fileURLWithPath: folder.path).appendingPathComponent("caldera.json").path
        let settings =
            FileManager.default.fileExists(atPath: path)
            ? try JSONConfig(contentsOf: path) : JSONConfig([:], path: path)
        let side = (parts.unet.config.sampleSize ?? 64) * parts.autoencoder.config.downscale
        let guidance = parts.family == .stableDiffusionXL ? 5.0 : 7.5
        return ModelDefaults(
            width: side, height: side, steps: try settings.int("steps", default: 50),
            guidanceScale: try settings.double("guidance_scale", default: guidance))
    }
}
