import CalderaGraph
import Foundation

/// The tokenizer that a `tokenizer.json` of Hugging Face's `tokenizers` describes: byte pair encoding with the steps
/// before and after it. Ids and decoded texts are those of that package (0.23).
///
/// In one respect it differs: a special token that is looked for in normalized text is left out of decoded text when
/// special tokens are, although its normalized form is another; that package writes it.
///
/// The file's `truncation` and `padding` are not applied: what becomes of a text that is too long is the generator's
/// to decide.
package struct TokenizerFile: TextTokenizer {
    package let vocabularySize: Int
    package let beginningOfText: Int32?
    package let endOfText: Int32?

    private let model: TokenizerModel
    private let normalizer: TokenizerNormalizer?
    private let splitter: TokenizerSplitter?
    private let template: TokenizerTemplate
    private let decoder: TokenizerDecoder?
    private let typed: AddedTokenFinder
    private let normalized: AddedTokenFinder
    /// The text of each id; nil where the vocabulary has a gap.
    private let contents: [ScalarText?]
    private let special: Set<Int32>

    /// Reads a `tokenizer.json`, and the tokens that start and end a text from the `tokenizer_config.json` beside it,
    /// if there is one.
    /// Throws `CalderaError` when a file is missing, malformed or larger than 64 MiB, or names a component that is not
    /// supported.
    package init(path: String) throws {
        let folder = URL(fileURLWithPath: path).deletingLastPathComponent()
        let configPath = folder.appendingPathComponent("tokenizer_config.json").path
        let hasConfig = FileManager.default.fileExists(atPath: configPath)
        let config = hasConfig ? try ConfigFile.read(configPath) : nil
        try self.init(json: ConfigFile.read(path), config: config, path: path, configPath: configPath)
    }

    /// Reads the text of a `tokenizer.json` and, where there is one, of a `tokenizer_config.json`.
    package init(
        json: Data, config: Data? = nil, path: String = "tokenizer.json", configPath: String = "tokenizer_config.json"
    ) throws {
        let root = try TokenizerComponent(ExactJSON(json, path: path), place: path)
        guard let model = try root.component("model") else {
            throw CalderaError("\(path) has no \"model\": it is no tokenizer.json.")
        }
        var parts = Parts(model: try TokenizerModel(model))
        parts.normalizer = try root.component("normalizer").map(TokenizerNormalizer.init)
        parts.splitter = try root.component("pre_tokenizer").map(TokenizerSplitter.init)
        parts.template = try root.component("post_processor").map { try TokenizerTemplate($0) } ?? TokenizerTemplate()
        parts.decoder = try root.component("decoder").map(TokenizerDecoder.init)
        parts.added = try root.components("added_tokens").map { try AddedToken($0, ids: parts.model.ids) }
        if let config {
            let config = try TokenizerComponent(ExactJSON(config, path: configPath), place: configPath)
            parts.beginning = try parts.id("bos_token", of: config)
            parts.end = try parts.id("eos_token", of: config)
        }
        try self.init(parts, path: path)
    }

    init(_ parts: Parts, path: String) throws {
        let added = parts.added.filter { !$0.content.isEmpty }
        let last = max(parts.model.ids.values.max() ?? -1, added.map(\.id).max() ?? -1)
        // A table of texts by id follows: gaps in it are well, but not a table for one stray id.
        guard last < 1 << 24 else {
            throw CalderaError(
                "\(path) gives a token the id \(last), which no model's table reaches: download it again.")
        }
        var contents = [ScalarText?](repeating: nil, count: Int(last) + 1)
        for (piece, id) in parts.model.ids {
            contents[Int(id)] = ScalarText(String(decoding: piece, as: UTF8.self))
        }
        let keys = try added.map { token in
            token.isNormalized ? try parts.normalizer?.normalize(token.content) ?? token.content : token.content
        }
        for (token, key) in zip(added, keys) { contents[Int(token.id)] = key }
        vocabularySize = contents.count
        beginningOfText = parts.beginning
        endOfText = parts.end
        model = parts.model
        normalizer = parts.normalizer
        splitter = parts.splitter
        template = parts.template
        decoder = parts.decoder
        self.contents = contents
        special = Set(added.filter(\.isSpecial).map(\.id))
        let tokens = Array(zip(keys, added))
        typed = AddedTokenFinder(tokens.filter { !$0.1.isNormalized })
        normalized = AddedTokenFinder(tokens.filter(\.1.isNormalized))
    }

    package func encode(_ text: String, addSpecialTokens: Bool) throws -> [Int32] {
        let scalars = ScalarText(text)
        var ids: [Int32] = []
        for piece in typed.pieces(scalars) {
            switch piece {
            case .token(let id): ids.append(id)
            case .text(let range): try encode(Array(scalars[range]), isFirst: range.lowerBound == 0, into: &ids)
            }
        }
        return addSpecialTokens ? template.apply(ids) : ids
    }

    private func encode(_ text: ScalarText, isFirst: Bool, into ids: inout [Int32]) throws {
        let text = try normalizer?.normalize(text) ?? text
        for piece in normalized.pieces(text) {
            switch piece {
            case .token(let id): ids.append(id)
            case .text(let range):
                let word = TokenizerSplitter.Word(
                    text: Array(text[range]), isFirst: isFirst && range.lowerBound == 0)
                for word in try splitter?.words(word) ?? [word] { model.encode(word.text, into: &ids) }
            }
        }
    }

    package func decode(_ ids: [Int32], skipSpecialTokens: Bool) -> String {
        let tokens = ids.compactMap { id -> ScalarText? in
            guard contents.indices.contains(Int(id)), !(skipSpecialTokens && special.contains(id)) else { return nil }
            return contents[Int(id)]
        }
        let texts = decoder?.decode(tokens)
        return (texts.map { Array($0.joined()) } ?? Array(tokens.joined(separator: [" "])))[...].text
    }
}

extension TokenizerFile {
    /// What a tokenizer is made of.
    struct Parts {
        let model: TokenizerModel
        var normalizer: TokenizerNormalizer?
        var splitter: TokenizerSplitter?
        var template = TokenizerTemplate()
        var decoder: TokenizerDecoder?
        var added: [AddedToken] = []
        var beginning: Int32?
        var end: Int32?

        /// The id of a token that a `tokenizer_config.json` names.
        func id(_ key: String, of config: TokenizerComponent) throws -> Int32? {
            guard let name = try config.tokenName(key) else { return nil }
            let content = ScalarText(name)
            guard let id = added.first(where: { $0.content == content })?.id ?? model.ids[content.utf8Bytes] else {
                throw CalderaError("\(config.place): the tokenizer lacks the \(key) \(name): the files do not fit.")
            }
            return id
        }
    }
}
