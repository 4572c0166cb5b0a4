import CalderaGraph
import Foundation

/// A LLaMA language model in one GGUF file: what transformers would have in a folder.
package struct GGUFModel: Sendable {
    package let path: String
    /// What `config.json` would say.
    package let config: JSONConfig
    /// Under transformers' names.
    package let weights: any WeightSource
    let metadata: [String: GGUFValue]

    /// Whether the file at `path` begins as a GGUF file does.
    package static func isOne(_ path: String) -> Bool { (try? GGUFFile.isOne(MappedFile(path))) ?? false }

    /// Throws `CalderaError` when the file is missing, damaged, cut short, of a version or an element type that is not
    /// read, or holds another architecture.
    package init(_ path: String) throws {
        let file = try GGUFFile(path)
        self.path = path
        metadata = file.metadata
        let settings = try GGUFSettings(file)
        config = JSONConfig(try settings.config(), path: path)
        weights = try GGUFWeights(
            file, heads: settings.int("attention.head_count"), keyHeads: settings.keyHeads())
    }
}

/// The hyperparameters in a file's metadata.
/// Reference: ggml's `docs/gguf.md`, "LLaMA".
private struct GGUFSettings {
    private let file: GGUFFile
    private let values: JSONConfig

    init(_ file: GGUFFile) throws {
        self.file = file
        values = JSONConfig(file.metadata.mapValues(\.json), path: file.file.path)
        let architecture = try values.string("general.architecture")
        guard architecture == "llama" else {
            throw CalderaError(
                "\(file.file.path) is a model of the architecture \(architecture); of language models Caldera runs llama."
            )
        }
        guard try int("expert_count", default: 0) == 0 else {
            throw CalderaError("\(file.file.path) is a mixture of experts, which Caldera does not run.")
        }
    }

    func int(_ key: String, default fallback: Int? = nil) throws -> Int {
        try values.int("llama." + key, default: fallback)
    }

    /// One number, or the same number for each layer.
    func keyHeads() throws -> Int {
        let key = "attention.head_count_kv"
        guard case .array = values.value("llama." + key) else {
            return try int(key, default: int("attention.head_count"))
        }
        let list = try values.ints("llama." + key)
        guard let first = list.first, list.allSatisfy({ $0 == first }) else {
            throw CalderaError(
                "\(file.file.path) has layers with different numbers of key heads, which is not computed.")
        }
        return first
    }

    func config() throws -> [String: JSONValue] {
        let heads = try int("attention.head_count")
        let width = try int("embedding_length")
        let headSize = try int("attention.key_length", default: heads > 0 ? width / heads : 0)
        guard try int("rope.dimension_count", default: headSize) == headSize,
            try int("attention.value_length", default: headSize) == headSize
        else {
            throw CalderaError("\(file.file.path) turns only a part of each head by rotary positions: not computed.")
        }
        guard let table = file.tensors["token_embd.weight"]?.shape, table.rank == 2 else {
            throw CalderaError("\(file.file.path) has no token_embd.weight: it is no language model.")
        }
        return [
            "model_type": .string("llama"),
            "vocab_size": .int(table[0]),
            "hidden_size": .int(width),
            "intermediate_size": .int(try int("feed_forward_length")),
            "num_hidden_layers": .int(try int("block_count")),
            "num_attention_heads": .int(heads),
            "num_key_value_heads": .int(try keyHeads()),
            "head_dim": .int(headSize),
            "max_position_embeddings": .int(try int("context_length")),
            "rms_norm_eps": .double(try values.double("llama.attention.layer_norm_rms_epsilon")),
            "attention_bias": .bool(file.tensors["blk.0.attn_q.bias"] != nil),
            "mlp_bias": .bool(file.tensors["blk.0.ffn_gate.bias"] != nil),
            "tie_word_embeddings": .bool(file.tensors["output.weight"] == nil),
            "bos_token_id": values.value("tokenizer.ggml.bos_token_id") ?? .null,
            "eos_token_id": values.value("tokenizer.ggml.eos_token_id") ?? .null,
            "rope_parameters": .object(try rope()),
        ]
    }

    private func rope() throws -> [String: JSONValue] {
        let theta = JSONValue.double(try values.double("llama.rope.freq_base", default: 10000))
        // Llama 3.1's scaling comes as the numbers by which each frequency is divided.
        if let divisors = file.tensors["rope_freqs.weight"] {
            guard divisors.type == .f32 else {
                throw CalderaError("\(file.file.path): rope_freqs.weight is not F32: convert the file again.")
            }
            let floats = withExtendedLifetime(file.file) {
                ElementReader.floats(UnsafeRawBufferPointer(rebasing: file.file.bytes[divisors.range]), .float32)
            }
            return [
                "rope_theta": theta, "rope_type": .string("divided"),
                "divisors": .array(floats.map { .double(Double($0)) }),
            ]
        }
        let kind = try values.string("llama.rope.scaling.type", default: "none")
        if kind == "none" { return ["rope_theta": theta, "rope_type": .string("default")] }
        let factor = try values.double("llama.rope.scaling.factor")
        return ["rope_theta": theta, "rope_type": .string(kind), "factor": .double(factor)]
    }
}
