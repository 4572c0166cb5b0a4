import CalderaGraph
import Foundation

/// Writes a model in the other form: a single file as a diffusers folder, a folder as a single file, or either in
/// another element type.
///
/// Tensors go to the disk one after the other, in pieces. What is written appears whole or not at all.
package struct CheckpointConverter {
    private let source: any ModelSource
    private let dtype: DType?
    private let weights: (String) throws -> any WeightSource

    /// - Parameters:
    ///   - dtype: fp32, fp16 or bf16, rounded to nearest even; nil keeps each tensor's own type.
    ///   - weights: a component's weights in the names of diffusers, where they are not the source's own: with LoRAs
    ///     merged in, say.
    package init(
        _ source: any ModelSource, dtype: DType? = nil, weights: ((String) throws -> any WeightSource)? = nil
    ) {
        self.source = source
        self.dtype = dtype
        self.weights = weights ?? { try source.weights($0) }
    }

    /// Writes a single file where the name ends in `.safetensors`, otherwise a folder.
    /// Throws `CalderaError` for a form that Caldera does not write, and as the two others do.
    package func write(to path: String) throws {
        let ending = URL(fileURLWithPath: path).pathExtension.lowercased()
        if ending == "safetensors" { return try writeSingleFile(to: path) }
        if ["ckpt", "pt", "pth", "bin", "gguf"].contains(ending) {
            throw CalderaError.usage("Caldera does not write .\(ending) files: name a .safetensors file or a folder.")
        }
        try writeFolder(to: path)
    }

    /// Writes a folder that diffusers' `from_pretrained` opens: weights, configs, tokenizers, `model_index.json`.
    /// Safety checkers and other parts that pictures do without are left out.
    /// Throws `CalderaError` when a part is missing or broken, when a number does not fit the type (naming the
    /// tensor), when the folder exists already, and when the disk is full or refuses.
    package func writeFolder(to path: String) throws {
        let encoders = try layout().textEncoders
        try AtomicFolder.write(to: path) { folder in
            for component in ["unet", "vae"] + encoders.map(\.component) { try write(component, to: folder) }
            for encoder in encoders { try copyTokenizer(encoder.tokenizerComponent, to: folder) }
            let scheduler = folder.appendingPathComponent("scheduler")
            try AtomicFolder.makeFolder(scheduler)
            try write(source.config("scheduler"), to: scheduler.appendingPathComponent("scheduler_config.json"))
            let settings = try source.settings()
            if !settings.keys.isEmpty { try write(settings, to: folder.appendingPathComponent("caldera.json")) }
            try write(index(encoders), to: folder.appendingPathComponent("model_index.json"))
        }
    }

    /// Writes one safetensors file under the original key names, which diffusers' `from_single_file` opens.
    /// Throws as `writeFolder` does, but replaces a file of that name.
    package func writeSingleFile(to path: String) throws {
        let layout = try layout()
        var tensors = try streamed(OriginalWeights.unet(weights("unet"), prefix: CheckpointLayout.unet))
        tensors += try streamed(
            OriginalWeights.autoencoder(part("vae"), prefix: CheckpointLayout.autoencoder[0]))
        for encoder in layout.textEncoders {
            let weights = try weights(encoder.component)
            let original =
                encoder.isOpenCLIP
                ? OriginalWeights.openCLIPTextEncoder(weights, prefix: encoder.openCLIPPrefix)
                : OriginalWeights.textEncoder(weights, prefix: encoder.transformersPrefix)
            tensors += try streamed(original)
        }
        tensors += try CheckpointMarks.tensors(source, layout)
        try SafetensorsWriter.write(streaming: tensors, metadata: Self.metadata, to: path)
    }

    /// transformers refuses files that do not say this.
    private static let metadata = ["format": "pt"]

    private func layout() throws -> CheckpointLayout {
        if let layout = try CheckpointLayout(of: source) { return layout }
        throw CalderaError("\(source.path) is a \(source.className), which Caldera does not convert.")
    }

    /// A component's weights in the names of today, whoever gave them.
    private func part(_ component: String) throws -> any WeightSource {
        let weights = try weights(component)
        return component == "vae" ? RenamedWeights.autoencoder(weights) : weights
    }

    private func write(_ component: String, to folder: URL) throws {
        let target = folder.appendingPathComponent(component)
        try AtomicFolder.makeFolder(target)
        let isEncoder = component.hasPrefix("text_encoder")
        let file = target.appendingPathComponent(
            isEncoder ? "model.safetensors" : "diffusion_pytorch_model.safetensors")
        try SafetensorsWriter.write(
            streaming: streamed(try part(component)), metadata: Self.metadata, to: file.path)
        var config = try source.config(component)
        // transformers' note of the type that the file has.
        for key in ["dtype", "torch_dtype"] where config.has(key) {
            if let dtype { config = config.replacing([key: .string(dtype.rawValue)]) }
        }
        try write(config, to: target.appendingPathComponent("config.json"))
    }

    private func copyTokenizer(_ component: String, to folder: URL) throws {
        let origin = try source.tokenizer(component)
        let target = folder.appendingPathComponent(component)
        try AtomicFolder.makeFolder(target)
        let required = ["vocab.json", "merges.txt"]
        let optional = ["tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "tokenizer.json"]
        for name in required + optional {
            let file = origin.appendingPathComponent(name).path
            if optional.contains(name), !FileManager.default.fileExists(atPath: file) { continue }
            try write(ConfigFile.read(file), to: target.appendingPathComponent(name))
        }
    }

    /// `model_index.json` with what is written, and null for what is left out.
    private func index(_ encoders: [CheckpointLayout.TextEncoder]) -> JSONConfig {
        let written = Set(["unet", "vae", "scheduler"] + encoders.flatMap { [$0.component, $0.tokenizerComponent] })
        let absent = source.components.keys.filter { !written.contains($0) }
        let nothing = JSONValue.array([.null, .null])
        var entries = Dictionary(uniqueKeysWithValues: absent.map { ($0, nothing) })
        // A checkpoint without an autoencoder of its own was given another's.
        entries["vae"] = .array([.string("diffusers"), .string("AutoencoderKL")])
        return source.index.replacing(entries)
    }

    private func write(_ config: JSONConfig, to file: URL) throws { try write(config.data(), to: file) }

    private func write(_ data: Data, to file: URL) throws {
        try data.withUnsafeBytes { try AtomicFile.write($0, to: file.path) }
    }
}

// MARK: - Tensors

extension CheckpointConverter {
    private func streamed(_ weights: any WeightSource) throws -> [SafetensorsWriter.StreamedTensor] {
        try weights.names.filter { !$0.hasSuffix(".position_ids") }.map { try streamed($0, of: weights) }
    }

    private func streamed(_ name: String, of weights: any WeightSource) throws -> SafetensorsWriter.StreamedTensor {
        guard let info = weights.info(name) else {
            // Asking for the bytes says what is wrong with it.
            try weights.withBytes(name) { _ in }
            throw CalderaError("Tensor \(name) cannot be read.")
        }
        let target = info.dtype == .int32 ? .int32 : dtype ?? info.dtype
        return SafetensorsWriter.StreamedTensor(name, dtype: target, shape: info.shape) { append in
            try weights.withBytes(name) { bytes in
                if target == info.dtype { return try append(bytes) }
                try Self.convert(bytes, name, from: info.dtype, to: target, append)
            }
        }
    }

    /// Elements that are converted at a time.
    private static let piece = 1 << 20

    private static func convert(
        _ bytes: UnsafeRawBufferPointer, _ name: String, from source: DType, to target: DType,
        _ append: (UnsafeRawBufferPointer) throws -> Void
    ) throws {
        for start in stride(from: 0, to: bytes.count, by: piece * source.size) {
            let end = min(start + piece * source.size, bytes.count)
            let part = UnsafeRawBufferPointer(rebasing: bytes[start..<end])
            guard let converted = ElementConversion.converted(part, from: source, to: target) else {
                throw CalderaError("Tensor \(name) holds a number that \(target) cannot: convert to another type.")
            }
            try converted.withUnsafeBytes(append)
        }
    }
}
