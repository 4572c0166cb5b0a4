import CalderaGraph
import Foundation

/// The configs of a single file's parts: those of the published models of its architecture, with what the file itself
/// says put in.
struct CheckpointConfigs: Sendable {
    private let configs: PublishedConfigs
    private let other: (any ModelSource)?
    private let recognition: CheckpointRecognition
    /// Values that replace the published ones, by component.
    private let changes: [String: [String: JSONValue]]

    /// - Parameter other: a model whose configs are taken instead, but for the scheduler's.
    /// Throws `CalderaError` when Caldera's resources are not there.
    init(_ recognition: CheckpointRecognition, _ file: any WeightSource, instead other: (any ModelSource)?) throws {
        configs = try PublishedConfigs(recognition.architecture)
        self.other = other
        self.recognition = recognition
        changes = try Self.changes(recognition, file)
    }

    func config(_ component: String) throws -> JSONConfig {
        if let other, component != "scheduler" { return try other.config(component) }
        return try configs.config(component).replacing(changes[component] ?? [:])
    }

    /// Caldera's own settings for models of this architecture.
    func settings() throws -> JSONConfig { try configs.settings() }

    private static func changes(
        _ recognition: CheckpointRecognition, _ file: any WeightSource
    ) throws -> [String: [String: JSONValue]] {
        var scheduler: [String: JSONValue] = ["prediction_type": .string(recognition.prediction.rawValue)]
        if recognition.hasZeroTerminalSNR { scheduler["rescale_betas_zero_snr"] = .bool(true) }
        var changes = ["scheduler": scheduler]
        if let size = recognition.sampleSize { changes["unet"] = ["sample_size": .int(size)] }
        if recognition.architecture == .playground25 {
            var vae: [String: JSONValue] = [:]
            for (key, tensor) in [("latents_mean", "edm_mean"), ("latents_std", "edm_std")] {
                guard let info = file.info(tensor), info.shape.count == 4 else { continue }
                let values = try file.withBytes(tensor) { ElementReader.floats($0, info.dtype) }
                vae[key] = .array(values.map { .double(Double($0)) })
            }
            changes["vae"] = vae
        }
        return changes
    }
}

/// Compares a UNet's tensors with the config that was chosen for them.
enum CheckpointShapes {
    /// Throws `CalderaError` when the widths are other ones: the model was changed, or the file is damaged.
    static func check(unet: any WeightSource, config: JSONConfig, path: String) throws {
        let channels = try config.ints("block_out_channels")
        guard let first = channels.first else { return }
        let latents = try config.int("in_channels", default: 4)
        let out = try config.int("out_channels", default: 4)
        var expected: [(String, Shape)] = [
            ("conv_in.weight", [first, latents, 3, 3]), ("conv_out.weight", [out, first, 3, 3]),
        ]
        expected += channels.indices.map {
            let width = channels[$0]
            return ("down_blocks.\($0).resnets.1.conv2.weight", [width, width, 3, 3])
        }
        for (name, shape) in expected {
            guard let found = unet.info(name)?.shape else {
                try unet.withBytes(name) { _ in }
                continue
            }
            guard found == shape else {
                throw CalderaError(
                    "\(path): the UNet's \(name) has the shape \(found) where \(shape) is needed: this is a model of "
                        + "another size, or the file is damaged.")
            }
        }
    }
}
