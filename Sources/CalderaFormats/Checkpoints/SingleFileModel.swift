import CalderaGraph
import Foundation

/// A model in one file under its original names: recognised by its tensors, its configs from Caldera's resources.
package struct SingleFileModel: ModelSource {
    package let path: String
    package let className: String
    package let components: [String: ModelFolder.Component]
    package let index: JSONConfig
    package let recognition: CheckpointRecognition

    private let file: any WeightSource
    private let tokenizers: URL
    private let configs: CheckpointConfigs

    /// Opens a file.
    /// - Parameters:
    ///   - tokenizers: a folder that holds the CLIP tokenizers `tokenizer` (filled up with "<|endoftext|>") and
    ///     `tokenizer_2` ("!").
    ///   - prediction: what the model predicts, where its own word is not to be taken.
    ///   - configs: another model whose configs are taken instead of the published ones of the architecture.
    /// Throws `CalderaError` when the file is broken, no model, or lacks a text encoder.
    package init(
        _ path: String, tokenizers: URL, prediction: CheckpointPrediction? = nil, configs: (any ModelSource)? = nil
    ) throws {
        try self.init(
            WeightFile.open(path), path: path, tokenizers: tokenizers, prediction: prediction, configs: configs)
    }

    /// The same for weights that are open already; `path` names them.
    package init(
        _ file: any WeightSource, path: String, tokenizers: URL, prediction: CheckpointPrediction? = nil,
        configs: (any ModelSource)? = nil
    ) throws {
        self.path = path
        self.file = file
        self.tokenizers = tokenizers
        recognition = try CheckpointRecognition(file, path: path, prediction: prediction, configs: configs)
        self.configs = try CheckpointConfigs(recognition, file, instead: configs)
        className = recognition.architecture.pipeline
        let scheduler = try self.configs.config("scheduler").string("_class_name")
        components = try Self.components(recognition.architecture, file.names, path, scheduler: scheduler)
        index = ModelIndex.config(className, components, flags: recognition.architecture.flags, path: path)
        try CheckpointShapes.check(unet: weights("unet"), config: config("unet"), path: path)
    }

    package var name: String { URL(fileURLWithPath: path).deletingPathExtension().lastPathComponent }

    package var note: String { recognition.reason }

    package func config(_ component: String) throws -> JSONConfig {
        guard component == "vae" || components[component] != nil else { throw missing(component) }
        return try configs.config(component)
    }

    package func weights(_ component: String) throws -> any WeightSource {
        guard components[component] != nil else { throw missing(component) }
        switch component {
        case "unet": return RenamedWeights.unet(file, prefix: CheckpointLayout.unet)
        case "vae":
            let prefix = CheckpointLayout.autoencoder.first { prefix in file.names.contains { $0.hasPrefix(prefix) } }
            return RenamedWeights.autoencoder(file, prefix: prefix ?? "")
        default:
            guard let encoder = encoders.first(where: { $0.component == component }) else { throw missing(component) }
            return try textEncoder(encoder)
        }
    }

    package func tokenizer(_ component: String) throws -> URL {
        guard let encoder = encoders.first(where: { $0.tokenizerComponent == component }) else {
            throw missing(component)
        }
        return tokenizers.appendingPathComponent(encoder.tokenizer)
    }

    package func settings() throws -> JSONConfig { try configs.settings() }

    private var encoders: [CheckpointLayout.TextEncoder] { recognition.architecture.layout.textEncoders }

    /// Most files have the names of the published ones; some tools write the other form.
    private func textEncoder(_ encoder: CheckpointLayout.TextEncoder) throws -> any WeightSource {
        let layers = try config(encoder.component).int("num_hidden_layers")
        if file.names.contains(where: { $0.hasPrefix(encoder.transformersPrefix) }) {
            return RenamedWeights.textEncoder(
                file, prefix: encoder.transformersPrefix, layers: layers, hasProjection: encoder.hasProjection)
        }
        return RenamedWeights.openCLIPTextEncoder(
            file, prefix: encoder.openCLIPPrefix, layers: layers, hasProjection: encoder.hasProjection)
    }

    private func missing(_ component: String) -> CalderaError {
        if component == "vae" {
            return CalderaError(
                "\(path) holds no autoencoder (first_stage_model.*): draw with another one by --vae, or take a file "
                    + "that has one.")
        }
        let held = components.keys.sorted().joined(separator: ", ")
        return CalderaError("\(path) holds no \(component); it is a \(className) with \(held).")
    }

    /// Throws when a text encoder is not there. An autoencoder may be given by another file.
    private static func components(
        _ architecture: CheckpointArchitecture, _ names: [String], _ path: String, scheduler: String
    ) throws -> [String: ModelFolder.Component] {
        func has(_ prefix: String) -> Bool { names.contains { $0.hasPrefix(prefix) } }
        var components = [
            "unet": ModelFolder.Component(library: "diffusers", className: "UNet2DConditionModel"),
            "scheduler": ModelFolder.Component(library: "diffusers", className: scheduler),
        ]
        if CheckpointLayout.autoencoder.contains(where: has) {
            components["vae"] = ModelFolder.Component(library: "diffusers", className: "AutoencoderKL")
        }
        for encoder in architecture.layout.textEncoders {
            guard has(encoder.transformersPrefix) || has(encoder.openCLIPPrefix) else {
                throw CalderaError(
                    "\(path) is a \(architecture.title) without a text encoder (\(encoder.stem)*): download the whole "
                        + "checkpoint.")
            }
            let name = encoder.hasProjection ? "CLIPTextModelWithProjection" : "CLIPTextModel"
            components[encoder.component] = ModelFolder.Component(library: "transformers", className: name)
            components[encoder.tokenizerComponent] = ModelFolder.Component(
                library: "transformers", className: "CLIPTokenizer")
        }
        return components
    }
}
