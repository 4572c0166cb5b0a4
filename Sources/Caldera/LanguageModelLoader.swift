import CalderaFormats
import CalderaGraph
import CalderaLanguage
import CalderaModels
import CalderaText
import Foundation

/// Opens language models: folders as transformers saves them, and GGUF files.
package enum LanguageModelLoader {
    /// - Parameter path: a folder with `config.json`, `tokenizer.json` or `tokenizer.model`, and weights in one file or in shards, or a GGUF
    ///   file; nil for the embedded upsampler.
    /// Throws `CalderaError` when a file is missing or broken, when parts do not fit each other, and for a model that
    /// Caldera does not compute.
    package static func open(_ path: String? = nil) throws -> LanguageParts {
        let path = try path ?? EmbeddedModel.upsamplerPath()
        if path.isFolder { return try folder(path) }
        guard FileManager.default.fileExists(atPath: path) else {
            throw CalderaError("There is no language model \(path): give a folder or a GGUF file.")
        }
        guard GGUFModel.isOne(path) else {
            throw CalderaError(
                "\(path) is no GGUF file: give one, or the folder that holds the model's config.json, weights and "
                    + "tokenizer.json.")
        }
        return try gguf(path)
    }

    /// A language model on a device. Throws as `open` does, when there is no such device, and when it cannot compute at
    /// that precision.
    package static func load(
        _ path: String? = nil, device: DeviceChoice = .auto, precision: Precision? = nil, context: Int? = nil
    ) throws -> LanguageModel {
        let parts = try open(path)
        let selection = try DeviceSelection(device, precision: precision)
        return try LanguageModel(
            parts, backend: selection.backend, precision: selection.precision, context: context)
    }

    private static func folder(_ path: String) throws -> LanguageParts {
        let folder = URL(fileURLWithPath: path)
        func file(_ name: String) throws -> String {
            let file = folder.appendingPathComponent(name).path
            guard FileManager.default.fileExists(atPath: file) else {
                throw CalderaError("\(path) holds no \(name): it is no language model's folder, or not all of it.")
            }
            return file
        }
        // Some models, TIPO's among them, have SentencePiece's own file alone.
        let hasPieces =
            !FileManager.default.fileExists(atPath: folder.appendingPathComponent("tokenizer.json").path)
            && FileManager.default.fileExists(atPath: folder.appendingPathComponent("tokenizer.model").path)
        let config = try LlamaConfig(JSONConfig(contentsOf: file("config.json")))
        let tokenizer: any TextTokenizer =
            hasPieces ? try SentencePieceBPE(folder: folder) : try TokenizerFile(path: file("tokenizer.json"))
        return try LanguageParts(
            config: config, weights: WeightFile.open(folder: path), tokenizer: tokenizer,
            name: folder.lastPathComponent)
    }

    private static func gguf(_ path: String) throws -> LanguageParts {
        let model = try GGUFModel(path)
        return try LanguageParts(
            config: LlamaConfig(model.config), weights: model.weights, tokenizer: tokenizer(model.tokenizer()),
            name: URL(fileURLWithPath: path).lastPathComponent)
    }

    private static func tokenizer(_ stored: GGUFTokenizer) throws -> any TextTokenizer {
        switch stored.kind {
        case .sentencePiece(let scores, let addsSpace):
            return try SentencePieceBPE(
                tokens: stored.tokens, scores: scores, types: stored.types, addPrefixSpace: addsSpace,
                bos: stored.addsBeginningOfText ? stored.beginningOfText : nil, eos: stored.endOfText)
        case .byteLevel(let merges, let pattern):
            return try TokenizerFile(
                tokens: stored.tokens, merges: merges, types: stored.types, pattern: pattern,
                bos: stored.beginningOfText, addBeginningOfText: stored.addsBeginningOfText, eos: stored.endOfText)
        }
    }
}
