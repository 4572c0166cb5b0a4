import CalderaFormats
import CalderaGraph
import Foundation

/// The description of a tiny model: a folder of `Fixtures/models` with the config files of a diffusers folder and, in
/// place of weights, a `weights.json` for each component. `Tools/goldens/models.py` makes them.
package struct TinyModel: Sendable {
    /// The families that have a description; `embedded` has goldens only.
    package static let families = ["sd15", "sd21", "sdxl", "refiner"]

    package let description: URL

    package init(_ description: URL) {
        self.description = description
    }

    /// The components of this family that have weights: `unet`, `vae`, `text_encoder`, `text_encoder_2`.
    package func components() throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: description.path).sorted().filter { component in
            FileManager.default.fileExists(atPath: manifest(component).path)
        }
    }

    package func weights(_ component: String) throws -> DeterministicWeights {
        try DeterministicWeights(manifest: manifest(component))
    }

    package func configFile(_ component: String) -> URL { description.appending(path: "\(component)/config.json") }

    package func golden() throws -> GoldenFile { try GoldenFile(description.appending(path: "golden.safetensors")) }

    package func runs() throws -> GoldenRuns { try GoldenRuns(description.appending(path: "pipeline.json")) }

    /// Writes the whole model folder, as diffusers would have saved it, to `folder`, which must not exist yet.
    /// The tokenizers are copied from `embeddedModel`, the folder of the model that the package ships.
    /// Throws `CalderaError` when weights cannot be made or written, and Foundation's errors for files that it copies.
    package func write(to folder: URL, embeddedModel: URL) throws {
        let files = FileManager.default
        try files.createDirectory(at: folder, withIntermediateDirectories: true)
        for file in ["model_index.json", "scheduler/scheduler_config.json"] {
            try copy(file, to: folder)
        }
        for component in try components() {
            try copy("\(component)/config.json", to: folder)
            try writeWeights(component, to: folder.appending(path: component))
        }
        let tokenizers = description.appending(path: "tokenizers.json")
        let sources = try JSONDecoder().decode([String: String].self, from: Data(contentsOf: tokenizers))
        for (name, source) in sources {
            try files.copyItem(at: embeddedModel.appending(path: source), to: folder.appending(path: name))
        }
    }

    private func manifest(_ component: String) -> URL { description.appending(path: "\(component)/weights.json") }

    private func copy(_ file: String, to folder: URL) throws {
        let target = folder.appending(path: file)
        try FileManager.default.createDirectory(
            at: target.deletingLastPathComponent(), withIntermediateDirectories: true)
        try FileManager.default.copyItem(at: description.appending(path: file), to: target)
    }

    private func writeWeights(_ component: String, to folder: URL) throws {
        let weights = try weights(component)
        let tensors = try weights.names.compactMap { name in
            try weights.info(name).map { info in
                SafetensorsWriter.Tensor(name, HostTensor(info.shape, try weights.values(name)))
            }
        }
        let name = component.hasPrefix("text_encoder") ? "model" : "diffusion_pytorch_model"
        let file = folder.appending(path: "\(name).safetensors")
        try SafetensorsWriter.write(tensors, metadata: ["format": "pt"], to: file.path)
    }
}
