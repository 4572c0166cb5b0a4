import CalderaGraph
import Foundation

/// What a language model's `config.json` says, under transformers' defaults.
/// Reference: transformers `configuration_llama.py`, `LlamaConfig`; older files say `rope_theta` and `rope_scaling`, newer
/// ones `rope_parameters`.
package struct LlamaConfig: Sendable, Equatable {
    package let vocabularySize: Int
    package let hiddenSize: Int
    package let intermediateSize: Int
    package let layers: Int
    package let heads: Int
    package let keyHeads: Int
    package let headSize: Int
    /// The most tokens of a text, prompt included.
    package let positions: Int
    package let epsilon: Float
    package let hasAttentionBias: Bool
    package let hasMLPBias: Bool
    /// Whether the token table is the last layer's weight too.
    package let isTied: Bool
    package let rope: RotaryFrequencies
    package let beginningOfText: Int?
    /// The ids that end a text.
    package let endOfText: [Int]

    /// Throws `CalderaError` for a missing or ill-typed setting, and for any value that this model does not compute.
    package init(_ config: JSONConfig) throws {
        try config.check(read: Self.read, fixed: Self.fixed, ignored: Self.ignored)
        vocabularySize = try config.positive("vocab_size", default: 32000)
        hiddenSize = try config.positive("hidden_size", default: 4096)
        intermediateSize = try config.positive("intermediate_size", default: 11008)
        layers = try config.positive("num_hidden_layers", default: 32)
        heads = try config.positive("num_attention_heads", default: 32)
        keyHeads = try config.positive("num_key_value_heads", default: heads)
        headSize = try config.positive("head_dim", default: max(1, hiddenSize / heads))
        positions = try config.positive("max_position_embeddings", default: 2048)
        epsilon = Float(try config.double("rms_norm_eps", default: 1e-6))
        hasAttentionBias = try config.bool("attention_bias", default: false)
        hasMLPBias = try config.bool("mlp_bias", default: false)
        isTied = try config.bool("tie_word_embeddings", default: false)
        beginningOfText = config.has("bos_token_id") ? try config.int("bos_token_id") : nil
        endOfText = try Self.ids(config, "eos_token_id")
        rope = try RotaryFrequencies(config, headSize: headSize)
        guard heads % keyHeads == 0 else {
            throw CalderaError(
                "\(config.path): num_key_value_heads \(keyHeads) does not divide num_attention_heads \(heads).")
        }
        guard headSize % 2 == 0 else {
            throw CalderaError("\(config.path): head_dim is \(headSize); rotary positions need an even one.")
        }
    }

    /// One id, a list of them, or none.
    private static func ids(_ config: JSONConfig, _ key: String) throws -> [Int] {
        guard config.has(key) else { return [] }
        if case .array = config.value(key) { return try config.ints(key) }
        return [try config.int(key)]
    }

    private static let read: Set<String> = [
        "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
        "num_key_value_heads", "head_dim", "max_position_embeddings", "rms_norm_eps", "attention_bias", "mlp_bias",
        "tie_word_embeddings", "bos_token_id", "eos_token_id", "rope_theta", "rope_scaling", "rope_parameters",
    ]

    private static let fixed: JSONConfig.Fixed = [
        "model_type": [.string("llama")],
        "hidden_act": [.string("silu")],
        "architectures": [.array([.string("LlamaForCausalLM")])],
        // Others cut the products into slices whose sum is the same.
        "pretraining_tp": [.int(1)],
    ]

    /// Training settings, ids that the tokenizer has, and what describes the file.
    private static let ignored: Set<String> = [
        "attention_dropout", "initializer_range", "pad_token_id", "dtype", "torch_dtype", "transformers_version",
        "use_cache", "output_attentions", "output_hidden_states", "rope_interleaved", "unsloth_fixed",
        "unsloth_version",
    ]
}
