import CalderaGraph

/// The tokenizer in a GGUF file's metadata.
/// Reference: ggml's `docs/gguf.md`, "Tokenizer".
package struct GGUFTokenizer: Sendable {
    package enum Kind: Sendable {
        /// SentencePiece's byte pairs; a score for each token, and whether a text begins as if behind a space.
        case sentencePiece(scores: [Float], addsSpace: Bool)
        /// GPT-2's; the merges, and the name of the way in which texts are cut into words.
        case byteLevel(merges: [String], pattern: String)
    }

    package let kind: Kind
    package let tokens: [String]
    /// ggml's `llama_token_type` of each token; empty where all are normal.
    package let types: [Int32]
    package let beginningOfText: Int32?
    /// Whether texts are meant to begin with it.
    package let addsBeginningOfText: Bool
    package let endOfText: Int32?

    fileprivate init(_ values: JSONConfig) throws {
        guard values.has("tokenizer.ggml.tokens") else {
            throw CalderaError("\(values.path) holds no tokenizer: take a file that does.")
        }
        func id(_ name: String) throws -> Int32? {
            let key = "tokenizer.ggml.\(name)_token_id"
            return values.has(key) ? Int32(exactly: try values.int(key)) : nil
        }
        tokens = try values.strings("tokenizer.ggml.tokens")
        types = try values.ints("tokenizer.ggml.token_type", default: []).map { Int32(truncatingIfNeeded: $0) }
        beginningOfText = try id("bos")
        endOfText = try id("eos")
        let name = try values.string("tokenizer.ggml.model")
        switch name {
        case "llama":
            kind = .sentencePiece(
                scores: try values.doubles("tokenizer.ggml.scores").map { Float($0) },
                addsSpace: try values.bool("tokenizer.ggml.add_space_prefix", default: true))
        case "gpt2":
            let pattern = try values.string("tokenizer.ggml.pre", default: "gpt-2")
            kind = .byteLevel(
                merges: try values.strings("tokenizer.ggml.merges"), pattern: pattern == "default" ? "gpt-2" : pattern)
        default:
            throw CalderaError("\(values.path) has a tokenizer of the kind \(name); Caldera reads llama and gpt2.")
        }
        addsBeginningOfText = try values.bool("tokenizer.ggml.add_bos_token", default: name == "llama")
    }
}

extension GGUFModel {
    /// Throws `CalderaError` when the file has no tokenizer, or one of a kind that is not read.
    package func tokenizer() throws -> GGUFTokenizer {
        try GGUFTokenizer(JSONConfig(metadata.mapValues(\.json), path: path))
    }
}
