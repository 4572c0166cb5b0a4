import CalderaDiffusion
import CalderaFormats
import CalderaGraph
import Foundation

/// What a model or a file of weights is.
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
    /// "diffusers folder", "single-file checkpoint", "safetensors file" or "PyTorch file".
    public let kind: String
    /// The pipeline's class for a model; what the tensors' names suggest for another file.
    public let architecture: String
    /// How that is known, for a model.
    public let note: String?
    public let parts: [Part]
    public let metadata: [String: String]
    /// The picture size for which `memoryNeeded` holds, and the device.
    public let size: Size?
    public let device: String?
    /// The most device bytes that one picture of `size` will take, per precision; nil where the device is too small.
    public let memoryNeeded: [String: Int]?
    /// Every tensor, for a file that is no whole model.
    public let tensors: [TensorLine]?
}

/// Looks into models without computing anything.
public enum Inspector {
    /// - Parameters:
    ///   - options: the model's path, or that of any file of weights.
    ///   - width, height: the picture for which memory is predicted; nil takes the model's own size.
    ///   - device: the device for which it is predicted.
    /// Throws `CalderaError` when there is nothing at the path, or it is neither a model nor a file of weights.
    public static func inspect(
        _ options: ModelOptions, width: Int? = nil, height: Int? = nil, device: DeviceChoice = .auto
    ) throws -> InspectionReport {
        let path = try options.model ?? EmbeddedModel.path()
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else {
            throw CalderaError("There is nothing at \(path).")
        }
        if !isFolder.boolValue, let report = try file(path) { return report }
        let source = try ModelLoader.source(options)
        let weighted = source.components.keys.sorted().filter {
            $0 == "unet" || $0 == "vae" || $0.hasPrefix("text_encoder")
        }
        let parts = try weighted.map { name in
            part(name, source.components[name]?.className ?? "", try source.weights(name))
        }
        let memory = try? MemoryNeed(options, width: width, height: height, device: device)
        return InspectionReport(
            path: path, kind: isFolder.boolValue ? "diffusers folder" : "single-file checkpoint",
            architecture: source.className, note: source.note, parts: parts, metadata: [:], size: memory?.size,
            device: memory?.device, memoryNeeded: memory?.bytes, tensors: nil)
    }

    private static func part(_ name: String, _ className: String, _ weights: any WeightSource) -> InspectionReport.Part
    {
        let infos = weights.names.compactMap { weights.info($0) }
        return InspectionReport.Part(
            name: name, className: className, parameters: infos.reduce(0) { $0 + $1.shape.count },
            dtypes: Dictionary(infos.map { ($0.dtype.rawValue, 1) }, uniquingKeysWith: +),
            bytes: infos.reduce(0) { $0 + $1.shape.count * $1.dtype.size })
    }

    /// The device bytes of a picture in each precision that the device has.
    private struct MemoryNeed {
        let size: InspectionReport.Size
        let device: String
        let bytes: [String: Int]

        init(_ options: ModelOptions, width: Int?, height: Int?, device: DeviceChoice) throws {
            let model = try ModelLoader.open(options)
            let request = try model.planned(width: width, height: height)
            var (bytes, name): ([String: Int], String) = ([:], "")
            for precision in Precision.allCases {
                guard let selection = try? DeviceSelection(device, precision: precision) else { continue }
                let pipeline = try DiffusionPipeline(
                    parts: model.parts, backend: selection.backend, precision: precision)
                bytes[precision.rawValue] = try pipeline.predictMemory(request).peak
                name = selection.backend.name
            }
            self.bytes = bytes
            self.device = name
            size = InspectionReport.Size(width: request.width, height: request.height)
        }
    }
}

// MARK: - Files that are no whole model

extension Inspector {
    /// What a file of weights holds; nil where it is a whole model.
    private static func file(_ path: String) throws -> InspectionReport? {
        let file = try WeightFile.open(path)
        let lines = tensors(file)
        let names = lines.map(\.name)
        if names.contains(where: { $0.hasPrefix("model.diffusion_model.") }) { return nil }
        let part = InspectionReport.Part(
            name: URL(fileURLWithPath: path).lastPathComponent, className: "",
            parameters: lines.reduce(0) { $0 + $1.shape.reduce(1, *) },
            dtypes: Dictionary(lines.map { ($0.dtype, 1) }, uniquingKeysWith: +), bytes: bytes(file))
        return InspectionReport(
            path: path, kind: file is PickleFile ? "PyTorch file" : "safetensors file",
            architecture: architecture(of: names), note: nil, parts: [part],
            metadata: (file as? SafetensorsFile)?.metadata ?? [:], size: nil, device: nil, memoryNeeded: nil,
            tensors: lines)
    }

    private static func tensors(_ file: any WeightSource) -> [InspectionReport.TensorLine] {
        file.names.sorted().map { name in
            let stored = (file as? SafetensorsFile)?.tensors[name].map { ($0.storedType, $0.shape) }
            let pickled = (file as? PickleFile)?.tensors[name].map { ($0.type.storedType, $0.shape) }
            let (dtype, shape) = stored ?? pickled ?? ("", [])
            return InspectionReport.TensorLine(name: name, dtype: dtype, shape: shape.extents)
        }
    }

    private static func bytes(_ file: any WeightSource) -> Int {
        if let file = file as? SafetensorsFile { return file.tensors.values.reduce(0) { $0 + $1.range.count } }
        return file.names.compactMap { file.info($0) }.reduce(0) { $0 + $1.shape.count * $1.dtype.size }
    }

    /// What a file of weights is for, by names that only this has.
    private static func architecture(of names: [String]) -> String {
        let marks: [(prefix: String, architecture: String)] = [
            ("lora_", "LoRA"),
            ("unet.", "LoRA"),
            ("emb_params", "textual-inversion embedding"),
            ("clip_l", "textual-inversion embedding"),
            ("down_blocks.", "UNet2DConditionModel"),
            ("decoder.layers.", "AutoencoderTiny"),
            ("decoder.", "AutoencoderKL"),
            ("first_stage_model.", "AutoencoderKL"),
            ("text_projection", "CLIPTextModelWithProjection"),
            ("text_model.", "CLIPTextModel"),
            ("embeddings.token_embedding", "CLIPTextModel"),
        ]
        return marks.first { mark in names.contains { $0.hasPrefix(mark.prefix) } }?.architecture ?? "unknown"
    }
}
