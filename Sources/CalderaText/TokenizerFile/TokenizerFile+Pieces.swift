import CalderaGraph

extension TokenizerFile {
    /// How a byte-level tokenizer of a GGUF file cuts text into words: the known values of `tokenizer.ggml.pre`.
    package enum WordPattern: String, CaseIterable, Sendable {
        case gpt2 = "gpt-2"
        case llama3 = "llama-bpe"
        case qwen2

        fileprivate var splitter: TokenizerSplitter {
            get throws {
                let digits: String
                switch self {
                case .gpt2: return .byteLevel(addsSpace: false, usesPattern: true)
                case .llama3: digits = #"\p{N}{1,3}"#
                case .qwen2: digits = #"\p{N}"#
                }
                let pattern =
                    #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"# + digits
                    + #"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#
                let program = try PatternProgram(pattern, place: rawValue)
                return .sequence([
                    .split(.expression(program), .isolated, inverted: false),
                    .byteLevel(addsSpace: false, usesPattern: false),
                ])
            }
        }
    }

    /// The tokenizer of a GGUF file whose `tokenizer.ggml.model` is "gpt2".
    ///
    /// - Parameters:
    ///   - tokens: the pieces by id, in GPT-2's letters for bytes: `tokenizer.ggml.tokens`.
    ///   - merges: pairs of pieces with a space between them, the earliest first: `tokenizer.ggml.merges`.
    ///   - types: one for each piece: `tokenizer.ggml.token_type`; empty if all are normal.
    ///   - pattern: the value of `tokenizer.ggml.pre`.
    ///   - bos: the id with which texts start, if the file says so.
    ///   - addBeginningOfText: whether it is added when special tokens are asked for: `tokenizer.ggml.add_bos_token`.
    ///   - eos: the id with which the model ends a text; it is not added.
    ///
    /// Throws `CalderaError` when the lists do not fit each other or the pattern is unknown.
    package init(
        tokens: [String], merges: [String], types: [Int32], pattern: String, bos: Int32?, addBeginningOfText: Bool,
        eos: Int32?
    ) throws {
        guard let words = WordPattern(rawValue: pattern) else {
            throw CalderaError(
                "The tokenizer's \"\(pattern)\" way of cutting text into words is not supported; Caldera knows "
                    + WordPattern.allCases.map(\.rawValue).joined(separator: ", ") + ".")
        }
        guard types.isEmpty || types.count == tokens.count else {
            throw CalderaError(
                "The tokenizer has \(tokens.count) pieces and \(types.count) types: the model file is damaged, "
                    + "download it again.")
        }
        for id in [bos, eos].compactMap({ $0 }) where !tokens.indices.contains(Int(id)) {
            throw CalderaError("The tokenizer has no piece \(id), with which texts start or end: download it again.")
        }
        let ids = Dictionary(tokens.enumerated().map { (Array($1.utf8), Int32($0)) }) { first, _ in first }
        var pairs = PairTable(ids: ids, place: "The model file")
        for (rank, merge) in merges.enumerated() { try pairs.add(line: merge, rank) }
        var parts = Parts(model: TokenizerModel(ids: ids, merges: pairs.merges, ignoresMerges: words == .llama3))
        parts.splitter = try words.splitter
        parts.decoder = .byteLevel
        parts.template = TokenizerTemplate(before: addBeginningOfText ? bos : nil, after: nil)
        parts.added = zip(tokens.indices, types).compactMap { id, type in
            let kind = TokenKind(rawValue: type)
            guard kind == .control || kind == .userDefined else { return nil }
            return AddedToken(content: ScalarText(tokens[id]), id: Int32(id), isSpecial: kind == .control)
        }
        parts.beginning = bos
        parts.end = eos
        try self.init(parts, path: "The model file")
    }
}
