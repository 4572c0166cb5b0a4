import CalderaAdapters
import CalderaFormats
import CalderaGraph
import Foundation

/// What a conversion has made.
public struct ConversionResult: Sendable {
    /// The file or the folder that was written.
    public let path: String
    /// The pipeline's class: `StableDiffusionXLPipeline`, ...
    public let architecture: String
    /// How it is known what the model is, for a person to read.
    public let note: String
    /// What the person who asked should know: adapter tensors that were left out.
    public let warnings: [String]
}

/// Writes models in the other form.
public enum Converter {
    /// Writes a model as a single-file checkpoint, where `path` ends in `.safetensors`, or as a diffusers folder.
    /// What is written appears whole or not at all.
    /// - Parameters:
    ///   - options: the model, and how its files are read; its other parts are not asked for.
    ///   - dtype: what the tensors are rounded to, to nearest even; nil keeps each one's own type.
    ///   - adapters: low-rank adapters to merge into the weights, by the paths of their files.
    /// Throws `CalderaError` when the model or an adapter cannot be opened or they do not fit each other, when there is
    /// something at `path` that would have to go, and when the disk is full or refuses.
    public static func convert(
        _ options: ModelOptions, to path: String, dtype: Precision? = nil, adapters: [AdapterSpec] = []
    ) throws -> ConversionResult {
        guard !path.isEmpty else {
            throw CalderaError.usage(
                "What is to be written has no name: give one that ends in .safetensors, or a folder's.")
        }
        let source = try ModelLoader.source(options)
        guard !adapters.isEmpty else {
            try CheckpointConverter(source, dtype: dtype?.dtype).write(to: path)
            return ConversionResult(path: path, architecture: source.className, note: source.note, warnings: [])
        }
        let names = ["unet", "text_encoder", "text_encoder_2"].filter { source.components[$0] != nil }
        let bases = Dictionary(uniqueKeysWithValues: try names.map { ($0, try source.weights($0)) })
        let stack = try AdapterStack(
            adapters.map { spec in
                AdapterStack.Item(
                    try AdapterFile(spec.name), unetWeight: spec.unetWeight, textWeight: spec.textWeight)
            }, for: bases, allowPartial: options.allowsPartialAdapters)
        let converter = CheckpointConverter(source, dtype: dtype?.dtype) { component in
            try bases[component].map { try stack.adapted($0, component: component) } ?? source.weights(component)
        }
        try converter.write(to: path)
        return ConversionResult(
            path: path, architecture: source.className, note: source.note,
            warnings: [stack.unmatchedWarning].compactMap { $0 })
    }
}

extension AdapterStack {
    /// One sentence about the tensors that match nothing, where these were allowed; nil where there are none.
    var unmatchedWarning: String? {
        guard !unmatchedKeys.isEmpty else { return nil }
        let most = 8
        let listed = unmatchedKeys.prefix(most).joined(separator: ", ")
        let more = unmatchedKeys.count > most ? " and \(unmatchedKeys.count - most) more" : ""
        let what = unmatchedKeys.count == 1 ? "1 LoRA tensor fits" : "\(unmatchedKeys.count) LoRA tensors fit"
        let verb = unmatchedKeys.count == 1 ? "was" : "were"
        return "\(what) nothing in this model and \(verb) left out: \(listed)\(more)."
    }
}
