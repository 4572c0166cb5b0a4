import CalderaGraph
import Foundation

/// A model on disk, whatever its form: what a pipeline needs to know of it.
///
/// Components go by diffusers' names: `unet`, `vae`, `text_encoder`, `text_encoder_2`, `tokenizer`, `tokenizer_2`,
/// `scheduler`.
package protocol ModelSource: Sendable {
    /// The folder or the file.
    var path: String { get }
    /// The name under which pictures remember the model.
    var name: String { get }
    /// The class of diffusers that runs it: `StableDiffusionPipeline`, `StableDiffusionXLPipeline`,
    /// `StableDiffusionXLImg2ImgPipeline` (a refiner), `StableDiffusionInpaintPipeline`, ...
    var className: String { get }
    /// The components that are there, with their classes.
    var components: [String: ModelFolder.Component] { get }
    /// What `model_index.json` says or would say.
    var index: JSONConfig { get }
    /// How it is known what the model is, for a person to read.
    var note: String { get }

    /// A component's config. Throws `CalderaError` when the model has none of that name.
    func config(_ component: String) throws -> JSONConfig
    /// A component's weights in the names of diffusers and transformers. Throws `CalderaError` when there are none.
    func weights(_ component: String) throws -> any WeightSource
    /// The folder of a tokenizer: `vocab.json`, `merges.txt` and what else it has.
    func tokenizer(_ component: String) throws -> URL
    /// Caldera's own settings for the model (`caldera.json`: `steps`, `guidance_scale`); empty where it has none.
    func settings() throws -> JSONConfig
}

extension ModelSource {
    /// A yes-or-no setting of the pipeline (`force_zeros_for_empty_prompt`, `requires_aesthetics_score`); `fallback`
    /// where the model does not have it.
    package func flag(_ name: String, default fallback: Bool) throws -> Bool {
        try index.bool(name, default: fallback)
    }
}

/// Opens models.
package enum ModelSources {
    /// - Parameters:
    ///   - path: a diffusers folder, or a single-file checkpoint.
    ///   - variant: the variant of a folder's files (`fp16`).
    ///   - prediction: what the model predicts, where its own word is not to be taken.
    ///   - configs: a diffusers folder whose configs a single file takes instead of the published ones.
    ///   - tokenizers: a folder that holds the CLIP tokenizers `tokenizer` and `tokenizer_2`, for single files.
    /// Throws `CalderaError` when there is nothing at the path or it is no model.
    package static func open(
        _ path: String, variant: String? = nil, prediction: CheckpointPrediction? = nil, configs: String? = nil,
        tokenizers: URL
    ) throws -> any ModelSource {
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else {
            throw CalderaError("There is no model at \(path): name a diffusers folder or a checkpoint file.")
        }
        if isFolder.boolValue {
            guard configs == nil else {
                throw CalderaError.usage("\(path) is a folder with configs of its own; leave --config out.")
            }
            return try ModelFolder(path, variant: variant, prediction: prediction)
        }
        if let variant {
            throw CalderaError.usage("\(path) is a single file and has no variant \(variant); leave the variant out.")
        }
        return try SingleFileModel(
            path, tokenizers: tokenizers, prediction: prediction, configs: configs.map { try ModelFolder($0) })
    }
}

extension JSONConfig {
    /// The same with other values for some keys.
    func replacing(_ values: [String: JSONValue]) -> JSONConfig {
        JSONConfig(self.values.merging(values) { _, new in new }, path: path)
    }
}
