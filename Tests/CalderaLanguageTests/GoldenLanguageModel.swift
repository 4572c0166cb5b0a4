import CalderaFormats
import CalderaGraph
import CalderaLanguage
import CalderaModels
import CalderaTestSupport
import CalderaText
import Foundation

/// A model of `Fixtures/models`, made by `Tools/goldens/llama.py`.
struct GoldenLanguageModel {
    static let small = ["plain", "grouped", "biased", "llama3", "linear", "dynamic", "wide_heads"]
    static let embedded = "upsampler"

    /// What transformers' `generate` made of a prompt.
    struct Run: Decodable {
        struct Sampling: Decodable {
            let temperature: Double?
            let topK: Int?
            let topP: Double?
            let minP: Double?
            let repetitionPenalty: Double?
            let minNewTokens: Int?
            let seed: UInt64?
        }

        let prompt: [Int32]
        let newTokens: Int
        let sampling: Sampling
        let ids: [Int32]

        var isGreedy: Bool { sampling.temperature == nil }

        var settings: TokenSampling {
            var settings = TokenSampling()
            settings.temperature = sampling.temperature
            settings.topK = sampling.topK
            settings.topP = sampling.topP
            settings.minP = sampling.minP
            settings.repetitionPenalty = sampling.repetitionPenalty ?? 1
            settings.maxNewTokens = newTokens
            settings.minNewTokens = isGreedy ? newTokens : sampling.minNewTokens ?? 0
            return settings
        }
    }

    let name: String
    let config: LlamaConfig
    let weights: any WeightSource
    let ids: [Int32]
    /// [N, V].
    let logits: HostTensor
    let runs: [Run]

    init(_ name: String) throws {
        self.name = name
        let folder = TestPaths.fixture("models/\(name)", of: "CalderaLanguageTests")
        let model = name == Self.embedded ? Self.embeddedFolder : folder
        config = try LlamaConfig(JSONConfig(contentsOf: model.appending(path: "config.json").path))
        weights =
            name == Self.embedded
            ? try SafetensorsFile(model.appending(path: "model.safetensors").path)
            : try DeterministicWeights(manifest: folder.appending(path: "weights.json"))
        let golden = try GoldenFile(folder.appending(path: "golden.safetensors"))
        ids = try golden.tensor("ids").floats.map { Int32($0) }
        logits = try golden.tensor("logits")
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        let tokens = try Data(contentsOf: folder.appending(path: "tokens.json"))
        runs = try decoder.decode([String: [Run]].self, from: tokens)["runs"] ?? []
    }

    static var embeddedFolder: URL {
        TestPaths.repository.appending(path: "Sources/Caldera/Resources/EmbeddedUpsampler")
    }

    func languageModel(
        _ backend: any Backend, _ precision: Precision, context: Int? = nil, chunk: Int = 64, largestBatch: Int = 8
    ) throws -> LanguageModel {
        let parts = try LanguageParts(
            config: config, weights: weights, tokenizer: NumberTokenizer(count: config.vocabularySize), name: name)
        return try LanguageModel(
            parts, backend: backend, precision: precision, context: context, largestBatch: largestBatch, chunk: chunk)
    }

    /// [1, V]: the logits behind token `index`.
    func logits(behind index: Int) -> HostTensor {
        let count = config.vocabularySize
        return HostTensor([1, count], Array(logits.floats[index * count..<(index + 1) * count]))
    }
}

/// Ids written as numbers: for models that have no text.
struct NumberTokenizer: TextTokenizer {
    let count: Int
    var vocabularySize: Int { count }
    let beginningOfText: Int32? = 1
    let endOfText: Int32? = 2

    func encode(_ text: String, addSpecialTokens: Bool) throws -> [Int32] {
        text.split(separator: " ").compactMap { Int32($0) }
    }

    func decode(_ ids: [Int32], skipSpecialTokens: Bool) -> String { ids.map(String.init).joined(separator: " ") }
}
