import CalderaGraph

/// A token that is found in the text as it stands rather than by byte pair encoding.
struct AddedToken: Sendable {
    let content: ScalarText
    let id: Int32
    var isSpecial = false
    /// Whether it is looked for in normalized text or in the text as it was typed.
    var isNormalized = false
    /// Whether white space on its left or right belongs to it.
    var stripsLeft = false
    var stripsRight = false
    /// Whether it is only found where no word goes on at its sides.
    var isWord = false
}

extension AddedToken {
    /// Reads an item of `added_tokens`. Its id is the vocabulary's, where that has the token.
    init(_ component: TokenizerComponent, ids: [[UInt8]: Int32]) throws {
        content = ScalarText(try component.string("content"))
        id = try ids[content.utf8Bytes] ?? component.id("id")
        isSpecial = try component.bool("special", default: false)
        isNormalized = try component.bool("normalized", default: !isSpecial)
        stripsLeft = try component.bool("lstrip", default: false)
        stripsRight = try component.bool("rstrip", default: false)
        isWord = try component.bool("single_word", default: false)
    }
}

/// Finds added tokens: the leftmost first, and of those the longest.
/// Reference: tokenizers, `AddedVocabulary::find_matches`.
struct AddedTokenFinder: Sendable {
    enum Piece {
        case text(Range<Int>)
        case token(Int32)
    }

    /// The tokens by the first scalar of what is looked for, the longest first.
    private var tokens: [Unicode.Scalar: [(key: ScalarText, token: AddedToken)]] = [:]

    /// - Parameter keys: what is looked for: each token's content, normalized where that is needed.
    init(_ added: [(ScalarText, AddedToken)]) {
        for (key, token) in added {
            if let first = key.first { tokens[first, default: []].append((key, token)) }
        }
        tokens = tokens.mapValues { $0.sorted { $0.key.count > $1.key.count } }
    }

    func pieces(_ text: ScalarText) -> [Piece] {
        var pieces: [Piece] = []
        var start = 0
        var position = 0
        while position < text.count {
            guard let (key, token) = tokens[text[position]]?.first(where: { text[position...].starts(with: $0.key) })
            else {
                position += 1
                continue
            }
            let found = position..<(position + key.count)
            position = found.upperBound
            if token.isWord, Self.isInsideWord(found, text) { continue }
            let range = Self.widened(found, token, text, from: start)
            if start < range.lowerBound { pieces.append(.text(start..<range.lowerBound)) }
            pieces.append(.token(token.id))
            start = range.upperBound
        }
        if start < text.count { pieces.append(.text(start..<text.count)) }
        return pieces
    }

    private static func isInsideWord(_ range: Range<Int>, _ text: ScalarText) -> Bool {
        let startsInside = range.lowerBound > 0 && text[range.lowerBound - 1].isRustWord
        return startsInside || range.upperBound < text.count && text[range.upperBound].isRustWord
    }

    private static func widened(_ range: Range<Int>, _ token: AddedToken, _ text: ScalarText, from start: Int) -> Range<
        Int
    > {
        var (lower, upper) = (range.lowerBound, range.upperBound)
        while token.stripsLeft, lower > start, text[lower - 1].properties.isWhitespace { lower -= 1 }
        while token.stripsRight, upper < text.count, text[upper].properties.isWhitespace { upper += 1 }
        return lower..<upper
    }
}
