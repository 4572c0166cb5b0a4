import Foundation

/// CLIP's byte pair encoding, the same ids as transformers' `CLIPTokenizer` gives.
public struct CLIPTokenizer: Sendable {
    /// The length of a padded sequence: 77.
    public let maxLength: Int
    public let startOfText: Int32
    public let endOfText: Int32
    /// What fills a sequence behind its end: `endOfText` for CLIP ViT-L, 0 for OpenCLIP's encoders.
    public let pad: Int32
    /// Ids are below this.
    public private(set) var vocabularySize: Int

    /// The triggers that `adding(_:)` brought, in that order.
    var triggers: [Trigger] = []
    let vocabulary: [String: Int32]
    /// The texts of tokens that are no symbols of byte pair encoding.
    var contents: [Int32: String]

    private let encoder: BytePairEncoder
    /// Tokens that are looked for in the text as it was typed, and those in normalized text.
    private let typed: AddedTokens
    private let normalized: AddedTokens
    /// `normalized` and the triggers.
    private var triggering: AddedTokens

    /// Reads the tokenizer folder of a diffusers model: `vocab.json` and `merges.txt`, with `tokenizer_config.json`,
    /// `special_tokens_map.json` and `added_tokens.json` where they exist.
    /// Throws `CalderaError` when a file is missing or malformed.
    public init(folder: URL) throws {
        let files = try CLIPTokenizerFiles(folder)
        maxLength = files.maxLength
        startOfText = files.startOfText
        endOfText = files.endOfText
        pad = files.pad
        vocabulary = files.vocabulary
        contents = Dictionary(files.added.map { ($0.id, $0.content) }) { first, _ in first }
        vocabularySize = Int(max(files.vocabulary.values.max() ?? 0, files.added.map(\.id).max() ?? 0)) + 1
        encoder = try BytePairEncoder(
            vocabulary: files.vocabulary, merges: files.merges, unknown: files.unknown, path: files.mergesPath)
        typed = AddedTokens(files.added.filter { !$0.isNormalized }, normalize: CLIPTextSplitter.normalize)
        normalized = AddedTokens(files.added.filter(\.isNormalized), normalize: CLIPTextSplitter.normalize)
        triggering = normalized
    }

    /// The ids of a text of any length, without those of start and end. A trigger that was added gives its first id, as
    /// transformers does for a token of several vectors.
    public func encode(_ text: String) -> [Int32] { encode(text, normalized: triggering) }

    /// The same without regard to the triggers that were added.
    func encodeWithoutTriggers(_ text: String) -> [Int32] { encode(text, normalized: normalized) }

    private func encode(_ text: String, normalized: AddedTokens) -> [Int32] {
        let scalars = Array(text.unicodeScalars)
        var ids: [Int32] = []
        for piece in typed.pieces(scalars) {
            switch piece {
            case .token(let id): ids.append(id)
            case .text(let range): encode(segment: scalars[range], normalized, into: &ids)
            }
        }
        return ids
    }

    /// The `maxLength` ids that a text encoder takes: start, as much of the text as fits, end, padding; and the index
    /// of the first end of text, where pooled outputs are taken. Triggers give all of their ids.
    public func tokens(_ text: String) -> (ids: [Int32], endOfText: Int) {
        var ids = [startOfText] + encode(spellingOutTriggers(text)).prefix(maxLength - 2) + [endOfText]
        ids += [Int32](repeating: pad, count: maxLength - ids.count)
        return (ids, ids.firstIndex(of: endOfText) ?? maxLength - 1)
    }

    /// What `tokens(_:)` cuts off, as diffusers words it in its warning; nil where all of the text fits.
    public func truncatedText(_ text: String) -> String? {
        let rest = encode(spellingOutTriggers(text)).dropFirst(maxLength - 2)
        return rest.isEmpty ? nil : decode(rest)
    }

    mutating func look(for tokens: [AddedTokens.Token]) {
        triggering.add(tokens, normalize: CLIPTextSplitter.normalize)
        for token in tokens {
            contents[token.id] = token.content
            vocabularySize = max(vocabularySize, Int(token.id) + 1)
        }
    }

    private func encode(
        segment: ArraySlice<Unicode.Scalar>, _ normalized: AddedTokens, into ids: inout [Int32]
    ) {
        var view = Substring.UnicodeScalarView()
        view.append(contentsOf: segment)
        let scalars = CLIPTextSplitter.normalize(view)
        for piece in normalized.pieces(scalars) {
            switch piece {
            case .token(let id): ids.append(id)
            case .text(let range):
                CLIPTextSplitter.forEachWord(scalars[range]) { encoder.encode($0, into: &ids) }
            }
        }
    }
}
