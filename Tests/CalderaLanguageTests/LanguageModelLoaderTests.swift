import Caldera
import CalderaFormats
import CalderaGraph
import CalderaLanguage
import CalderaModels
import CalderaTestSupport
import Foundation
import Testing

/// Folders, shards and GGUF files.
@Suite(.serialized) struct LanguageModelLoaderTests {
    private struct TokenizedText: Decodable {
        let text: String
        let ids: [Int32]
        let decoded: String
    }

    private var gguf: URL { TestPaths.fixture("gguf/model.gguf", of: "CalderaFormatsTests") }

    private func message(_ path: String) -> String {
        do {
            _ = try LanguageModelLoader.open(path)
            return ""
        } catch {
            return "\(error)"
        }
    }

    private func greedy(_ parts: LanguageParts, _ prompt: [Int32]) throws -> [Int32] {
        try LanguageDevice.cpuFP32.withBackend { backend in
            var sampling = TokenSampling()
            (sampling.maxNewTokens, sampling.minNewTokens) = (30, 30)
            let model = try LanguageModel(parts, backend: backend, precision: .fp32)
            return try model.generate(prompts: [prompt], sampling: sampling, seeds: [0])[0].ids
        }
    }

    @Test func theEmbeddedUpsamplerWritesOn() throws {
        let model = try LanguageModelLoader.load(device: .cpu)
        let prompt = try model.parts.tokenizer.encode("red circle", addSpecialTokens: true)
        #expect(prompt.first == model.parts.tokenizer.beginningOfText)
        let result = try model.generate(prompts: [prompt], sampling: .greedy, seeds: [0])
        let text = model.parts.tokenizer.decode(result[0].ids, skipSpecialTokens: true)
        #expect(!text.isEmpty)
    }

    /// A GGUF file computes what a folder with the same numbers does: rows of queries and keys stand in their order.
    @Test func aGGUFFileIsTheFolderItWasMadeFrom() throws {
        let parts = try LanguageModelLoader.open(gguf.path)
        let folder = try TemporaryFolder()
        let model = try GGUFModel(gguf.path)
        let tensors = try model.weights.names.compactMap { name in
            try model.weights.info(name).map {
                SafetensorsWriter.Tensor(name, HostTensor($0.shape, try model.weights.floats(name)))
            }
        }
        try SafetensorsWriter.write(tensors, metadata: [:], to: folder.path("model.safetensors"))
        let other = try LanguageParts(
            config: config(), weights: SafetensorsFile(folder.path("model.safetensors")),
            tokenizer: NumberTokenizer(count: 3), name: "folder")
        #expect(other.config.rope == parts.config.rope && other.config.keyHeads == parts.config.keyHeads)
        let prompt = try parts.tokenizer.encode("that cat", addSpecialTokens: true)
        #expect(try greedy(parts, prompt) == greedy(other, prompt))
    }

    private func config() throws -> LlamaConfig {
        let json = TestPaths.fixture("gguf/model.json", of: "CalderaFormatsTests").path
        return try LlamaConfig(JSONConfig(contentsOf: json).object("config"))
    }

    /// The tokenizers package was given the merges that transformers makes of the same scores.
    @Test func aGGUFTokenizerIsThatOfTransformers() throws {
        let tokenizer = try LanguageModelLoader.open(gguf.path).tokenizer
        let texts = TestPaths.fixture("gguf/texts.json", of: "CalderaFormatsTests")
        for wanted in try JSONDecoder().decode([TokenizedText].self, from: Data(contentsOf: texts)) {
            let ids = try tokenizer.encode(wanted.text, addSpecialTokens: true)
            #expect(ids == wanted.ids, "\(wanted.text)")
            #expect(tokenizer.decode(ids, skipSpecialTokens: true) == wanted.decoded, "\(wanted.text)")
        }
    }

    /// The upsampler's weights in two shards with an index.
    @Test func shardsAreOneModel() throws {
        let whole = try LanguageModelLoader.open(GoldenLanguageModel.embeddedFolder.path)
        let folder = try TemporaryFolder()
        for name in ["config.json", "tokenizer.json", "tokenizer_config.json"] {
            try folder.write(name, Data(contentsOf: GoldenLanguageModel.embeddedFolder.appending(path: name)))
        }
        var map: [String: String] = [:]
        for part in 0..<2 {
            let names = whole.weights.names.enumerated().filter { $0.offset % 2 == part }.map(\.element)
            let file = "model-0000\(part + 1)-of-00002.safetensors"
            let tensors = try names.compactMap { name in
                try whole.weights.info(name).map {
                    SafetensorsWriter.Tensor(name, HostTensor($0.shape, try whole.weights.floats(name)))
                }
            }
            try SafetensorsWriter.write(tensors, metadata: [:], to: folder.path(file))
            for name in names { map[name] = file }
        }
        try folder.write("model.safetensors.index.json", JSONEncoder().encode(["weight_map": map]))
        let sharded = try LanguageModelLoader.open(folder.url.path)
        #expect(try greedy(sharded, [1, 5, 9]) == greedy(whole, [1, 5, 9]))
    }

    @Test func whatIsNoLanguageModelIsRefused() throws {
        let folder = try TemporaryFolder()
        #expect(message(folder.path("nothing")).contains("no language model"))
        #expect(message(folder.url.path).contains("config.json"))
        try folder.write("model.bin", "nonsense")
        #expect(message(folder.path("model.bin")).contains("no GGUF file"))
        let bytes = try Data(contentsOf: gguf)
        #expect(message(try folder.write("cut.gguf", bytes.prefix(100_000))).contains("cut short"))
    }

    /// Weights that do not fit the config are all named.
    @Test func weightsThatDoNotFitAreNamed() throws {
        let folder = try TemporaryFolder()
        let embedded = GoldenLanguageModel.embeddedFolder
        for name in ["tokenizer.json", "tokenizer_config.json", "model.safetensors"] {
            try folder.write(name, Data(contentsOf: embedded.appending(path: name)))
        }
        let config = try String(contentsOf: embedded.appending(path: "config.json"), encoding: .utf8)
        try folder.write(
            "config.json",
            config.replacingOccurrences(of: "\"intermediate_size\": 432", with: "\"intermediate_size\": 430"))
        let parts = try LanguageModelLoader.open(folder.url.path)
        #expect(throws: CalderaError.self) { try greedy(parts, [1]) }
        try folder.write(
            "config.json", config.replacingOccurrences(of: "\"vocab_size\": 897", with: "\"vocab_size\": 880"))
        #expect(message(folder.url.path).contains("not of one model"))
    }
}
