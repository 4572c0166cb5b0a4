import CalderaDiffusion
import CalderaFormats
import CalderaGraph
import Foundation

/// What a model folder or a weight file is.
public struct InspectionReport: Codable, Sendable {
    public struct Part: Codable, Sendable {
        public let name: String
        public let className: String
        public let parameters: Int
        /// Tensors of each stored type.
        public let dtypes: [String: Int]
        public let bytes: Int
    }

    public struct Size: Codable, Sendable {
        public let width: Int
        public let height: Int
    }

    public struct TensorLine: Codable, Sendable {
        public let name: String
        public let dtype: String
        public let shape: [Int]
    }

    public let path: String
    /// "diffusers folder" or "safetensors file".
    public let kind: String
    /// The pipeline's class for a folder; what the tensors' names suggest for a file.
    public let architecture: String
    public let parts: [Part]
    public let metadata: [String: String]
    /// The picture size for which `memoryNeeded` holds.
    public let size: Size?
    /// Bytes for weights, intermediates and inputs while one picture of `size` is denoised, per precision.
    public let memoryNeeded: [String: Int]?
    /// Every tensor, for a single file.
    public let tensors: [TensorLine]?
}

/// Looks into models without computing anything.
public enum Inspector {
    /// - Parameters:
    ///   - width, height: the picture for which memory is predicted; nil takes the model's own size.
    /// Throws `CalderaError` when there is nothing at `path`, or it is neither a model folder nor a safetensors file.
    public static func inspect(_ path: String, width: Int? = nil, height: Int? = nil) throws -> InspectionReport {
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else {
            throw CalderaError("There is nothing at \(path).")
        }
        return isFolder.boolValue
            ? try folder(path, width: width, height: height) : try file(path)
    }

    private static func folder(_ path: String, width: Int?, height: Int?) throws -> InspectionReport {
        let folder = try ModelFolder(path)
        let weighted = folder.components.keys.sorted().filter { hasWeights(folder, $0) }
        let parts = try weighted.map { name in
            try part(name, folder.components[name]?.className ?? "", folder.weights(name, variant: nil))
        }
        let memory = try memory(path, width: width, height: height)
        return InspectionReport(
            path: path, kind: "diffusers folder", architecture: folder.className, parts: parts, metadata: [:],
            size: memory?.size, memoryNeeded: memory?.bytes, tensors: nil)
    }

    private static func hasWeights(_ folder: ModelFolder, _ name: String) -> Bool {
        name == "unet" || name == "vae" || name.hasPrefix("text_encoder")
    }

    private static func file(_ path: String) throws -> InspectionReport {
        let file = try SafetensorsFile(path)
        let lines = file.tensors.sorted { $0.key < $1.key }.map { name, tensor in
            InspectionReport.TensorLine(name: name, dtype: tensor.storedType, shape: tensor.shape.extents)
        }
        let part = InspectionReport.Part(
            name: URL(fileURLWithPath: path).lastPathComponent, className: "",
            parameters: lines.reduce(0) { $0 + $1.shape.reduce(1, *) },
            dtypes: Dictionary(lines.map { ($0.dtype, 1) }, uniquingKeysWith: +),
            bytes: file.tensors.values.reduce(0) { $0 + $1.range.count })
        return InspectionReport(
            path: path, kind: "safetensors file", architecture: architecture(of: lines.map(\.name)), parts: [part],
            metadata: file.metadata, size: nil, memoryNeeded: nil, tensors: lines)
    }

    private static func part(
        _ name: String, _ className: String, _ weights: any WeightSource
    ) throws -> InspectionReport.Part {
        let infos = weights.names.compactMap { weights.info($0) }
        return InspectionReport.Part(
            name: name, className: className, parameters: infos.reduce(0) { $0 + $1.shape.count },
            dtypes: Dictionary(infos.map { ($0.dtype.rawValue, 1) }, uniquingKeysWith: +),
            bytes: infos.reduce(0) { $0 + $1.shape.count * $1.dtype.size })
    }

    /// What one step with guidance needs; nil for pipelines that Caldera does not run.
    private static func memory(
        _ path: String, width: Int?, height: Int?
    ) throws -> (size: InspectionReport.Size, bytes: [String: Int])? {
        guard let model = try? ModelLoader.open(path, variant: nil) else { return nil }
        let request = try model.resolved(
            GenerationRequest(prompt: "", width: width, height: height, scheduler: "euler"))
        var bytes: [String: Int] = [:]
        for precision in [Precision.fp16, .fp32] {
            let plans = PipelinePlans(parts: model.parts, precision: precision, limits: PlanLimits())
            bytes[precision.rawValue] = try plans.denoiser(model.denoising(request, plans)).totalSize
        }
        return (InspectionReport.Size(width: request.width, height: request.height), bytes)
    }

    /// The part that a file of weights belongs to, by names that only this part has.
    private static func architecture(of names: [String]) -> String {
        let marks: [(prefix: String, architecture: String)] = [
            ("model.diffusion_model.", "single-file checkpoint in the original key names"),
            ("down_blocks.", "UNet2DConditionModel"),
            ("decoder.", "AutoencoderKL"),
            ("text_projection", "CLIPTextModelWithProjection"),
            ("text_model.", "CLIPTextModel"),
            ("embeddings.token_embedding", "CLIPTextModel"),
            ("lora_", "LoRA"),
        ]
        return marks.first { mark in names.contains { $0.hasPrefix(mark.prefix) } }?.architecture ?? "unknown"
    }
}
