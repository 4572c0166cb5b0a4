import CalderaGraph
import Foundation

/// What `tokenizer_config.json` and `special_tokens_map.json` say of a CLIP tokenizer, both of which may be absent.
struct CLIPTokenizerSettings {
    struct Token {
        let text: String
        /// Whether it is looked for in the cleaned text rather than in the text as it was typed.
        let isNormalized: Bool
    }

    private(set) var start = Token(text: "<|startoftext|>", isNormalized: true)
    private(set) var end = Token(text: "<|endoftext|>", isNormalized: true)
    private(set) var padding = Token(text: "<|endoftext|>", isNormalized: true)
    private(set) var maximumLength = 77
    /// Every token that is found whole in a text, one entry for each text.
    private(set) var tokens: [Token] = []

    init(folder: URL) throws {
        for name in ["special_tokens_map.json", "tokenizer_config.json"] {
            let path = folder.appendingPathComponent(name).path
            if FileManager.default.fileExists(atPath: path) { try read(JSONConfig(contentsOf: path)) }
        }
        guard (3...4096).contains(maximumLength) else {
            throw CalderaError("\(folder.path): a model_max_length of \(maximumLength) is no length of a prompt.")
        }
        for token in [start, end, padding] where !tokens.contains(where: { $0.text == token.text }) {
            tokens.append(token)
        }
    }

    private mutating func read(_ config: JSONConfig) throws {
        start = try token(config, "bos_token") ?? start
        end = try token(config, "eos_token") ?? end
        padding = try token(config, "pad_token") ?? padding
        if config.has("model_max_length") { maximumLength = try config.int("model_max_length") }
        guard config.has("added_tokens_decoder") else { return }
        let added = try config.object("added_tokens_decoder")
        tokens = try added.keys.map { try Self.token(added.object($0)) }
    }

    /// A token is written as text, or as an object with the text under `content`. Plain text is a special token of
    /// transformers' default kind, which is looked for in the text as it was typed.
    private func token(_ config: JSONConfig, _ key: String) throws -> Token? {
        switch config.value(key) {
        case nil: return nil
        case .string(let text):
            let known = [start, end].first { $0.text == text }
            return known ?? Token(text: text, isNormalized: false)
        default: return try Self.token(config.object(key))
        }
    }

    private static func token(_ object: JSONConfig) throws -> Token {
        Token(text: try object.string("content"), isNormalized: try object.bool("normalized", default: false))
    }
}
