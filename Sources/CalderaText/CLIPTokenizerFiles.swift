import CalderaGraph
import Foundation

/// What a tokenizer folder says: `vocab.json`, `merges.txt`, and, where they exist, `tokenizer_config.json`,
/// `special_tokens_map.json` and `added_tokens.json`, with transformers' rules for which of them is believed.
struct CLIPTokenizerFiles {
    let vocabulary: [String: Int32]
    let merges: String
    let mergesPath: String
    let added: [AddedTokens.Token]
    let startOfText: Int32
    let endOfText: Int32
    let pad: Int32
    let unknown: Int32
    let maxLength: Int

    init(_ folder: URL) throws {
        let vocabularyPath = folder.appendingPathComponent("vocab.json").path
        let vocabulary = try Self.readVocabulary(vocabularyPath)
        mergesPath = folder.appendingPathComponent("merges.txt").path
        merges = try Self.readMerges(mergesPath)
        let config = try Self.config(folder, "tokenizer_config.json")
        let declared = try DeclaredTokens(config, folder)
        self.vocabulary = vocabulary
        added = try declared.tokens.map { token in
            guard let id = vocabulary[token.content] ?? token.id else {
                throw CalderaError("\(vocabularyPath) lacks the special token \(token.content).")
            }
            return AddedTokens.Token(content: token.content, id: id, isNormalized: token.isNormalized)
        }
        let ids = Dictionary(added.map { ($0.content, $0.id) }) { first, _ in first }
        func id(_ role: String) throws -> Int32 {
            let content = declared.roles[role] ?? DeclaredTokens.defaults[role] ?? ""
            guard let id = ids[content] ?? vocabulary[content] else {
                throw CalderaError("\(vocabularyPath) lacks the \(role) \(content).")
            }
            return id
        }
        startOfText = try id("bos_token")
        endOfText = try id("eos_token")
        pad = try id("pad_token")
        unknown = try id("unk_token")
        maxLength = try Self.maxLength(config)
    }

    private static func config(_ folder: URL, _ name: String) throws -> JSONConfig? {
        let path = folder.appendingPathComponent(name).path
        guard FileManager.default.fileExists(atPath: path) else { return nil }
        return try JSONConfig(contentsOf: path)
    }

    private static func readVocabulary(_ path: String) throws -> [String: Int32] {
        guard let vocabulary = try? JSONDecoder().decode([String: Int32].self, from: try ConfigFile.read(path)) else {
            // Reading again tells a missing file from a broken one.
            _ = try ConfigFile.read(path)
            throw CalderaError("\(path) is not a vocabulary of {\"symbol\": id}: download it again.")
        }
        guard vocabulary.values.allSatisfy({ $0 >= 0 }) else {
            throw CalderaError("\(path) holds a negative id: download it again.")
        }
        return vocabulary
    }

    private static func readMerges(_ path: String) throws -> String {
        let data = try ConfigFile.read(path)
        guard let text = String(data: data, encoding: .utf8) else {
            throw CalderaError("\(path) is not UTF-8 text: download it again.")
        }
        return text
    }

    /// The length of CLIP's sequences where the file leaves it out or writes "no bound" (1e30).
    private static func maxLength(_ config: JSONConfig?) throws -> Int {
        guard let config, let length = Int(exactly: try config.double("model_max_length", default: 77)) else {
            return 77
        }
        guard length < 1_000_000 else { return 77 }
        guard length >= 2 else {
            throw CalderaError("\(config.path): \"model_max_length\" is \(length), too short for any text.")
        }
        return length
    }
}

/// The special tokens that a folder's files declare.
private struct DeclaredTokens {
    struct Token {
        let content: String
        let id: Int32?
        let isNormalized: Bool
    }

    static let defaults = [
        "bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>",
        "pad_token": "<|endoftext|>",
    ]
    private static let roleNames = ["bos_token", "eos_token", "unk_token", "pad_token"]

    /// `bos_token`, `eos_token`, `unk_token`, `pad_token` -> the token's text.
    private(set) var roles: [String: String] = [:]
    private(set) var tokens: [Token] = []

    /// `added_tokens_decoder` in `tokenizer_config.json` settles the matter where it exists; otherwise
    /// `special_tokens_map.json` goes before `tokenizer_config.json`, and `added_tokens.json` adds to both.
    init(_ config: JSONConfig?, _ folder: URL) throws {
        let map = try Self.optional(folder, "special_tokens_map.json")
        let decoder = config.flatMap { $0.has("added_tokens_decoder") ? $0 : nil }
        if let decoder { try declare(decoder.object("added_tokens_decoder")) }
        if decoder == nil, let file = try Self.optional(folder, "added_tokens.json") {
            try declare(added: file, map, config)
        }
        for role in Self.roleNames {
            let source = [decoder == nil ? map : nil, config].compactMap { $0 }.first { $0.has(role) }
            let token = try source.map { try Self.token($0, role) } ?? Self.fallback(role)
            roles[role] = token.content
            add(token)
        }
    }

    private mutating func declare(_ entries: JSONConfig) throws {
        // In the order of their ids: of two tokens with one text the first counts.
        for key in entries.keys.sorted(by: { (Int($0) ?? 0) < (Int($1) ?? 0) }) {
            guard let id = Int32(key), id >= 0 else {
                throw CalderaError("\(entries.path): \"\(key)\" is not the id of a token.")
            }
            let token = try Self.token(entries, key)
            add(Token(content: token.content, id: id, isNormalized: token.isNormalized))
        }
    }

    private mutating func declare(added file: JSONConfig, _ map: JSONConfig?, _ config: JSONConfig?) throws {
        let special = try Set(
            Self.roleNames.map { role in
                let source = [map, config].compactMap { $0 }.first { $0.has(role) }
                return try source.map { try Self.token($0, role) }?.content ?? Self.fallback(role).content
            })
        for content in file.keys {
            guard let id = Int32(exactly: try file.int(content)), id >= 0 else {
                throw CalderaError("\(file.path): the id of \(content) is out of range.")
            }
            add(Token(content: content, id: id, isNormalized: !special.contains(content)))
        }
    }

    private mutating func add(_ token: Token) {
        guard !token.content.isEmpty, !tokens.contains(where: { $0.content == token.content }) else { return }
        tokens.append(token)
    }

    private static func fallback(_ role: String) -> Token {
        Token(content: defaults[role] ?? "", id: nil, isNormalized: false)
    }

    /// A token is written as its text, or as an object with flags; a special token written as text is looked for in
    /// the text as it was typed.
    private static func token(_ config: JSONConfig, _ key: String) throws -> Token {
        if case .string(let content) = config.value(key) {
            return Token(content: content, id: nil, isNormalized: false)
        }
        let flags = try config.object(key)
        for flag in ["lstrip", "rstrip", "single_word"] where try flags.bool(flag, default: false) {
            throw CalderaError("\(flags.path) has the flag \(flag), which no CLIP tokenizer uses.")
        }
        let isSpecial = try flags.bool("special", default: true)
        return Token(
            content: try flags.string("content"), id: nil,
            isNormalized: try flags.bool("normalized", default: !isSpecial))
    }

    private static func optional(_ folder: URL, _ name: String) throws -> JSONConfig? {
        let path = folder.appendingPathComponent(name).path
        guard FileManager.default.fileExists(atPath: path) else { return nil }
        return try JSONConfig(contentsOf: path)
    }
}
