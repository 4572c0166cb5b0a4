import CalderaGraph

/// The tokens that are found in the text as they stand rather than by byte pair encoding.
struct AddedTokens: Sendable {
    struct Token: Sendable {
        let content: String
        let id: Int32
        /// Whether the token is looked for in normalized text (any case, any form) or in the text as it was typed.
        let isNormalized: Bool
    }

    enum Piece {
        case text(Range<Int>)
        case token(Int32)
    }

    /// The tokens by their first scalar, the longest first.
    private var tokens: [Unicode.Scalar: [(scalars: [Unicode.Scalar], id: Int32)]] = [:]

    init(_ tokens: [Token], normalize: (Substring.UnicodeScalarView) -> [Unicode.Scalar]) {
        add(tokens, normalize: normalize)
    }

    /// Further tokens beside those that there are.
    mutating func add(_ added: [Token], normalize: (Substring.UnicodeScalarView) -> [Unicode.Scalar]) {
        for token in added {
            let scalars =
                token.isNormalized
                ? normalize(token.content[...].unicodeScalars) : Array(token.content.unicodeScalars)
            guard let first = scalars.first else { continue }
            tokens[first, default: []].append((scalars, token.id))
        }
        tokens = tokens.mapValues { $0.sorted { $0.scalars.count > $1.scalars.count } }
    }

    /// Cuts text at its added tokens: the leftmost first, and of those the longest.
    func pieces(_ text: [Unicode.Scalar]) -> [Piece] {
        var pieces: [Piece] = []
        var start = 0
        var position = 0
        while position < text.count {
            guard let token = tokens[text[position]]?.first(where: { text[position...].starts(with: $0.scalars) })
            else {
                position += 1
                continue
            }
            if start < position { pieces.append(.text(start..<position)) }
            pieces.append(.token(token.id))
            position += token.scalars.count
            start = position
        }
        if start < text.count { pieces.append(.text(start..<text.count)) }
        return pieces
    }
}
