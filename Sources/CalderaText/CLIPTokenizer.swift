import CalderaGraph
import Foundation

/// CLIP's tokenizer, as transformers' `CLIPTokenizer` computes it: NFC, white space collapsed, lower case, words split by
/// kind of character, byte-pair merges with an end-of-word mark.
/// Reference: transformers `tokenization_clip.py`; openai/CLIP `simple_tokenizer.py`.
package final class CLIPTokenizer: Sendable {
    /// Ids of a sequence: start, text, end, padding.
    package let maximumLength: Int
    private let merges: BytePairMerges
    private let startOfText: Int32
    private let endOfText: Int32
    private let padding: Int32
    /// Ids of each byte's symbol within a word, and at a word's end.
    private let innerBytes: [Int32]
    private let finalBytes: [Int32]
    private let splitter: CLIPWordSplitter

    /// Reads `vocab.json`, `merges.txt` and, where they are there, `tokenizer_config.json` and
    /// `special_tokens_map.json`. Throws `CalderaError` for files that are missing or malformed.
    package init(folder: URL) throws {
        func path(_ name: String) -> String { folder.appendingPathComponent(name).path }
        merges = try BytePairMerges(vocabulary: path("vocab.json"), merges: path("merges.txt"))
        let vocabulary = merges.vocabulary
        let settings = try CLIPTokenizerSettings(folder: folder)
        func id(_ token: String) throws -> Int32 {
            guard let id = vocabulary[token] else {
                throw CalderaError(
                    "\(path("vocab.json")) lacks the special token \(token): the files do not belong together.")
            }
            return id
        }
        startOfText = try id(settings.start.text)
        endOfText = try id(settings.end.text)
        padding = try id(settings.padding.text)
        maximumLength = settings.maximumLength
        innerBytes = try ByteSymbols.all.map(id)
        finalBytes = try ByteSymbols.all.map { try id($0 + "</w>") }
        splitter = CLIPWordSplitter(
            special: try settings.tokens.map {
                SpecialToken(text: $0.text, id: try id($0.text), isNormalized: $0.isNormalized)
            })
    }

    /// The ids of a text, without start, end or padding.
    package func encode(_ text: String) -> [Int32] {
        splitter.pieces(of: text).flatMap { piece -> [Int32] in
            switch piece {
            case .special(let id): [id]
            case .word(let word): encode(word: word)
            }
        }
    }

    /// Start, at most `maximumLength` - 2 ids of the text, end, padding; and the position of the first end.
    package func tokens(_ text: String) -> (ids: [Int32], endOfText: Int) {
        let body = encode(text).prefix(maximumLength - 2)
        let ids = [startOfText] + body + [endOfText]
        let padded = ids + Array(repeating: padding, count: maximumLength - ids.count)
        return (padded, padded.firstIndex(of: endOfText) ?? 0)
    }

    private func encode(word: String) -> [Int32] {
        var symbols = word.utf8.map { innerBytes[Int($0)] }
        guard let last = word.utf8.last else { return [] }
        symbols[symbols.count - 1] = finalBytes[Int(last)]
        return merges.merge(symbols)
    }
}
