import CalderaGraph
import Foundation

/// The tokenizer in a GGUF file's metadata, written as the `tokenizer.json` and `tokenizer_config.json` that say the same.
/// Reference: ggml's `docs/gguf.md`, "Tokenizer"; for the merges of a SentencePiece model, transformers'
/// `convert_slow_tokenizer.py`, `generate_merges`.
extension GGUFModel {
    /// Throws `CalderaError` when the file has no tokenizer, or one of a kind that is not read.
    package func tokenizer() throws -> (json: Data, config: Data) {
        let vocabulary = try GGUFVocabulary(JSONConfig(metadata.mapValues(\.json), path: path))
        let file = try vocabulary.file()
        let options: JSONSerialization.WritingOptions = [.fragmentsAllowed]
        return (
            try JSONSerialization.data(withJSONObject: file, options: options),
            try JSONSerialization.data(withJSONObject: vocabulary.config(), options: options)
        )
    }
}

private struct GGUFVocabulary {
    private let values: JSONConfig
    private let tokens: [String]
    /// As ggml's `llama_token_type`: 1 normal, 2 unknown, 3 control, 4 user defined, 5 unused, 6 byte.
    private let kinds: [Int]

    init(_ values: JSONConfig) throws {
        self.values = values
        guard values.has("tokenizer.ggml.tokens") else {
            throw CalderaError("\(values.path) holds no tokenizer: take a file that does.")
        }
        tokens = try values.strings("tokenizer.ggml.tokens")
        kinds = try values.ints("tokenizer.ggml.token_type", default: Array(repeating: 1, count: tokens.count))
        guard kinds.count == tokens.count, !tokens.isEmpty else {
            throw CalderaError(
                "\(values.path): the tokenizer has \(tokens.count) tokens and \(kinds.count) types of them.")
        }
    }

    /// The contents of `tokenizer.json`.
    func file() throws -> [String: Any] {
        switch try values.string("tokenizer.ggml.model") {
        case "llama": return try sentencePiece()
        case "gpt2": return try byteLevel()
        case let other:
            throw CalderaError("\(values.path) has a tokenizer of the kind \(other); Caldera reads llama and gpt2.")
        }
    }

    /// The contents of `tokenizer_config.json`.
    func config() throws -> [String: Any] {
        var config: [String: Any] = [:]
        for (key, name) in [("bos_token", "bos"), ("eos_token", "eos")] {
            if let token = try special(name) { config[key] = token }
        }
        return config
    }

    private func special(_ name: String) throws -> String? {
        let key = "tokenizer.ggml.\(name)_token_id"
        guard values.has(key) else { return nil }
        let id = try values.int(key)
        guard tokens.indices.contains(id) else {
            throw CalderaError("\(values.path): \(key) is \(id), but there are \(tokens.count) tokens.")
        }
        return tokens[id]
    }

    // MARK: Kinds

    private func sentencePiece() throws -> [String: Any] {
        let mark = "\u{2581}"
        let addsSpace = try values.bool("tokenizer.ggml.add_space_prefix", default: true)
        let scores = try values.doubles("tokenizer.ggml.scores", default: Array(repeating: 0, count: tokens.count))
        guard scores.count == tokens.count else {
            throw CalderaError("\(values.path): the tokenizer has \(tokens.count) tokens and \(scores.count) scores.")
        }
        let replace: [String: Any] = ["type": "Replace", "pattern": ["String": " "], "content": mark]
        let prepend: [String: Any] = ["type": "Prepend", "prepend": mark]
        let strip: [String: Any] = ["type": "Strip", "content": " ", "start": 1, "stop": 0]
        var model: [String: Any] = [
            "type": "BPE", "byte_fallback": kinds.contains(6), "fuse_unk": true, "ignore_merges": false,
            "vocab": vocabulary, "merges": merges(scores).map { [$0.0, $0.1] },
        ]
        if let unknown = kinds.firstIndex(of: 2) { model["unk_token"] = tokens[unknown] }
        return [
            "model": model,
            "normalizer": ["type": "Sequence", "normalizers": addsSpace ? [prepend, replace] : [replace]],
            "post_processor": try template(beginsByDefault: true),
            "decoder": [
                "type": "Sequence",
                "decoders": [
                    ["type": "Replace", "pattern": ["String": mark], "content": " "], ["type": "ByteFallback"],
                    ["type": "Fuse"],
                ] + (addsSpace ? [strip] : []),
            ],
            "added_tokens": addedTokens([2, 3, 4]),
        ]
    }

    private func byteLevel() throws -> [String: Any] {
        let merges = try values.strings("tokenizer.ggml.merges")
        let splitter = try splitter()
        return [
            "model": [
                "type": "BPE", "vocab": vocabulary, "merges": merges,
                "ignore_merges": try values.string("tokenizer.ggml.pre", default: "default") == "llama-bpe",
            ],
            "pre_tokenizer": splitter,
            "post_processor": try template(beginsByDefault: false),
            "decoder": ["type": "ByteLevel"],
            "added_tokens": addedTokens([3, 4]),
        ]
    }

    private func splitter() throws -> [String: Any] {
        switch try values.string("tokenizer.ggml.pre", default: "default") {
        case "default", "gpt-2":
            return ["type": "ByteLevel", "add_prefix_space": false, "use_regex": true]
        case "llama-bpe", "llama3", "llama-v3":
            let pattern =
                #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|"#
                + #"\s*[\r\n]+|\s+(?!\S)|\s+"#
            let split: [String: Any] = [
                "type": "Split", "pattern": ["Regex": pattern], "behavior": "Isolated", "invert": false,
            ]
            let bytes: [String: Any] = ["type": "ByteLevel", "add_prefix_space": false, "use_regex": false]
            return ["type": "Sequence", "pretokenizers": [split, bytes]]
        case let other:
            throw CalderaError(
                "\(values.path): the tokenizer splits texts as \(other) does, which Caldera does not know: use the "
                    + "model's folder with its tokenizer.json.")
        }
    }

    // MARK: Parts

    private var vocabulary: [String: Int] {
        Dictionary(zip(tokens, tokens.indices), uniquingKeysWith: { first, _ in first })
    }

    private func addedTokens(_ wanted: Set<Int>) -> [[String: Any]] {
        tokens.indices.filter { wanted.contains(kinds[$0]) }.map { id in
            [
                "id": id, "content": tokens[id], "special": kinds[id] != 4, "normalized": false, "lstrip": false,
                "rstrip": false, "single_word": false,
            ]
        }
    }

    private func template(beginsByDefault: Bool) throws -> [String: Any] {
        var items: [[String: Any]] = [["Sequence": ["id": "A", "type_id": 0]]]
        var specials: [String: Any] = [:]
        func add(_ name: String, at index: Int) throws {
            guard let token = try special(name) else { return }
            items.insert(["SpecialToken": ["id": token, "type_id": 0]], at: index)
            specials[token] = [
                "id": token, "ids": [try values.int("tokenizer.ggml.\(name)_token_id")], "tokens": [token],
            ]
        }
        if try values.bool("tokenizer.ggml.add_eos_token", default: false) { try add("eos", at: 1) }
        if try values.bool("tokenizer.ggml.add_bos_token", default: beginsByDefault) { try add("bos", at: 0) }
        return ["type": "TemplateProcessing", "single": items, "pair": items, "special_tokens": specials]
    }

    /// Every way in which a piece consists of two others, by falling score.
    private func merges(_ scores: [Double]) -> [(String, String)] {
        struct Merge {
            let left: String
            let right: String
            let score: Double
            /// Lengths of both, in scalars.
            let lengths: (Int, Int)
        }
        let ids = vocabulary
        var merges: [Merge] = []
        for (id, token) in tokens.enumerated() where kinds[id] == 1 || kinds[id] == 4 {
            var own: [(Int, Int, Merge)] = []
            let scalars = token.unicodeScalars
            for (count, place) in scalars.indices.enumerated().dropFirst() {
                let (left, right) = (String(scalars[..<place]), String(scalars[place...]))
                guard let first = ids[left], let second = ids[right] else { continue }
                let merge = Merge(
                    left: left, right: right, score: scores[id], lengths: (count, scalars.count - count))
                own.append((first, second, merge))
            }
            merges += own.sorted { ($0.0, $0.1) < ($1.0, $1.1) }.map(\.2)
        }
        // Python sorts by score, then both lengths, all falling, and keeps the order of equals.
        let order = merges.indices.sorted { one, other in
            let (left, right) = (merges[one], merges[other])
            if left.score != right.score { return left.score > right.score }
            if left.lengths != right.lengths { return left.lengths > right.lengths }
            return one < other
        }
        return order.map { (merges[$0].left, merges[$0].right) }
    }
}
