import CalderaGraph
import Foundation

/// A model in the diffusers folder layout: `model_index.json` and one folder for each component.
public struct ModelFolder: Sendable {
    /// What a component is, as `model_index.json` writes it: `["diffusers", "UNet2DConditionModel"]`.
    public struct Component: Sendable, Hashable {
        public let library: String
        public let className: String
    }

    public let path: String
    /// The pipeline's class: `StableDiffusionXLPipeline`, ...
    public let className: String
    /// The components by folder name. One that the pipeline knows but this model lacks (`[null, null]`) is not here.
    public let components: [String: Component]
    /// `model_index.json`: pipeline settings such as `force_zeros_for_empty_prompt` are read from here.
    package let index: JSONConfig

    private let variant: String?
    private let prediction: CheckpointPrediction?

    /// Reads `model_index.json`. Throws `CalderaError` when the folder or the file is missing, or the file is not one.
    public init(_ path: String) throws { try self.init(path, variant: nil) }

    /// - Parameters:
    ///   - variant: the variant of the weight files to take (`fp16`).
    ///   - prediction: what the model predicts, where its scheduler's config is not to be believed.
    package init(_ path: String, variant: String?, prediction: CheckpointPrediction? = nil) throws {
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else {
            throw CalderaError("There is no model folder \(path).")
        }
        guard isFolder.boolValue else {
            throw CalderaError("\(path) is not a folder; a model is a folder that holds model_index.json.")
        }
        let indexPath = URL(fileURLWithPath: path).appendingPathComponent("model_index.json").path
        guard FileManager.default.fileExists(atPath: indexPath) else {
            throw CalderaError("\(path) is not a diffusers model: it holds no model_index.json.")
        }
        self.path = path
        self.variant = variant
        self.prediction = prediction
        index = try JSONConfig(contentsOf: indexPath)
        className = try index.string("_class_name")
        components = try Self.components(index)
    }

    /// A yes-or-no setting of the pipeline; `fallback` where the file does not have it.
    public func flag(_ name: String, default fallback: Bool) throws -> Bool {
        try index.bool(name, default: fallback)
    }

    /// The path of a component's folder. Throws `CalderaError` when the model has no such component or folder.
    public func folder(_ component: String) throws -> String {
        guard components[component] != nil else {
            throw CalderaError(
                "\(index.path) lists no component \(component); it has \(components.keys.sorted().joined(separator: ", "))."
            )
        }
        let folder = URL(fileURLWithPath: path).appendingPathComponent(component).path
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: folder, isDirectory: &isFolder), isFolder.boolValue else {
            throw CalderaError("\(path) lacks the folder \(component), which its model_index.json lists.")
        }
        return folder
    }

    /// A component's config: `config.json`, for a scheduler `scheduler_config.json`.
    package func config(_ component: String) throws -> JSONConfig {
        let folder = URL(fileURLWithPath: try folder(component))
        let names = ["config.json", "scheduler_config.json"]
        let paths = names.map { folder.appendingPathComponent($0).path }
        guard let found = paths.first(where: FileManager.default.fileExists(atPath:)) else {
            throw CalderaError("\(folder.path) holds no config: neither \(names.joined(separator: " nor ")).")
        }
        let config = try JSONConfig(contentsOf: found)
        guard component == "scheduler", let prediction else { return config }
        return config.replacing(["prediction_type": .string(prediction.rawValue)])
    }

    /// A component's weights: one file, or several with an index; safetensors where there are any, otherwise PyTorch's
    /// pickles.
    /// - Parameter variant: the variant to take (`fp16`); nil takes the plain files, and where a model comes only as a
    ///   variant, that one.
    /// Throws `CalderaError` when there are none, naming what was looked for, and when a file is broken.
    public func weights(_ component: String, variant: String?) throws -> any WeightSource {
        try WeightFile.open(folder: folder(component), variant: variant)
    }

    private static func components(_ index: JSONConfig) throws -> [String: Component] {
        try index.keys.reduce(into: [:]) { components, name in
            guard case .array(let pair) = index.value(name), pair.count == 2 else { return }
            if pair == [.null, .null] { return }
            guard case .string(let library) = pair[0], case .string(let className) = pair[1] else { return }
            guard !name.contains("/"), name != ".." && name != "." && !name.isEmpty else {
                throw CalderaError("\(index.path): the component \"\(name)\" is not the name of a folder.")
            }
            components[name] = Component(library: library, className: className)
        }
    }
}

extension ModelFolder: ModelSource {
    package var name: String { URL(fileURLWithPath: path).lastPathComponent }

    package var note: String { "a diffusers folder of a \(className)" }

    /// The weights of the variant that the folder was opened with.
    package func weights(_ component: String) throws -> any WeightSource {
        let weights = try weights(component, variant: variant)
        return component == "vae" ? RenamedWeights.autoencoder(weights) : weights
    }

    package func tokenizer(_ component: String) throws -> URL { URL(fileURLWithPath: try folder(component)) }

    package func settings() throws -> JSONConfig {
        let file = URL(fileURLWithPath: path).appendingPathComponent("caldera.json").path
        let hasFile = FileManager.default.fileExists(atPath: file)
        let written = try hasFile ? JSONConfig(contentsOf: file) : JSONConfig([:], path: file)
        guard !written.has("guidance_scale"), isPlayground2 else { return written }
        return written.replacing(["guidance_scale": .double(PlaygroundName.guidanceScale)])
    }

    private var isPlayground2: Bool {
        guard className == "StableDiffusionXLPipeline" else { return false }
        let configs = [index] + [try? config("unet")].compactMap { $0 }
        return PlaygroundName.names(ofFolder: path, configs: configs).contains(where: PlaygroundName.isMeant)
    }
}
