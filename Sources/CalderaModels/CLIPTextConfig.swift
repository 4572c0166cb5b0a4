import CalderaGraph

/// What a text encoder's `config.json` says, under transformers' defaults.
/// Reference: transformers `configuration_clip.py`, `CLIPTextConfig`.
package struct CLIPTextConfig: Sendable, Equatable {
    package private(set) var vocabularySize: Int
    package let hiddenSize: Int
    package let intermediateSize: Int
    package let layers: Int
    package let heads: Int
    package let positions: Int
    package let epsilon: Float
    package let activation: Activation
    /// Channels of the pooled embedding for `CLIPTextModelWithProjection`; nil for `CLIPTextModel`.
    package let projection: Int?
    /// The id whose position is pooled. The configs of the first CLIP models say 2 and mean the largest id.
    package let endOfText: Int

    /// Throws `CalderaError` for a missing or ill-typed setting, and for any value that this encoder does not compute.
    package init(_ config: JSONConfig) throws {
        try config.check(read: Self.read, fixed: Self.fixed, ignored: Self.ignored)
        vocabularySize = try config.positive("vocab_size", default: 49408)
        hiddenSize = try config.positive("hidden_size", default: 512)
        intermediateSize = try config.positive("intermediate_size", default: 2048)
        layers = try config.positive("num_hidden_layers", default: 12)
        heads = try config.positive("num_attention_heads", default: 8)
        positions = try config.positive("max_position_embeddings", default: 77)
        epsilon = Float(try config.double("layer_norm_eps", default: 1e-5))
        activation = try Self.activation(config)
        endOfText = try config.int("eos_token_id", default: 49407)
        let classes = try config.strings("architectures", default: ["CLIPTextModel"])
        let known = ["CLIPTextModel", "CLIPTextModelWithProjection"]
        guard let name = classes.first, known.contains(name) else {
            throw CalderaError("\(config.path): the architecture \(classes) is not one that Caldera computes.")
        }
        projection = name == known[1] ? try config.positive("projection_dim", default: 512) : nil
        guard hiddenSize % heads == 0 else {
            throw CalderaError("\(config.path): \(heads) attention heads do not divide hidden_size \(hiddenSize).")
        }
    }

    /// The same encoder with a larger token table, as textual inversion makes it.
    package func with(vocabularySize: Int) -> CLIPTextConfig {
        var copy = self
        copy.vocabularySize = vocabularySize
        return copy
    }

    /// The position whose state is pooled (transformers `CLIPTextTransformer.forward`): the first end-of-text id, or
    /// for the legacy value 2 the first of the largest id.
    package func endOfTextPosition(_ ids: [Int32]) -> Int {
        let wanted = endOfText == 2 ? ids.max() : Int32(exactly: endOfText)
        return ids.firstIndex { $0 == wanted } ?? 0
    }

    private static func activation(_ config: JSONConfig) throws -> Activation {
        switch try config.string("hidden_act", default: "quick_gelu") {
        case "quick_gelu": return .quickGELU
        case "gelu": return .gelu
        case let other:
            throw CalderaError("\(config.path): hidden_act \(other) is not one that Caldera computes.")
        }
    }

    private static let read: Set<String> = [
        "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
        "max_position_embeddings", "layer_norm_eps", "hidden_act", "eos_token_id", "architectures", "projection_dim",
    ]

    private static let fixed: JSONConfig.Fixed = [
        "model_type": [.string("clip_text_model")]
    ]

    /// Training settings, ids that the tokenizer has, and what describes the file.
    private static let ignored: Set<String> = [
        "attention_dropout", "dropout", "initializer_factor", "initializer_range", "bos_token_id", "pad_token_id",
        "dtype", "torch_dtype", "transformers_version", "use_cache", "output_attentions", "output_hidden_states",
    ]
}
