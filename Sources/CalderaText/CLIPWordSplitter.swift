import Foundation

/// A token that is found whole in the text.
struct SpecialToken: Sendable, Equatable {
    let text: String
    let id: Int32
    /// Whether it is looked for in the cleaned text rather than in the text as it was typed.
    let isNormalized: Bool
}

/// Cleans a text and cuts it into words as CLIP's pattern does:
/// `<special>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+`, on lower-case NFC text.
struct CLIPWordSplitter: Sendable {
    enum Piece: Equatable {
        case special(Int32)
        case word(String)
    }

    private let special: [SpecialToken]

    init(special: [SpecialToken]) { self.special = special.sorted { $0.text < $1.text } }

    /// Special tokens that stand for text as it is typed are found first; what lies between them is cleaned, searched for
    /// those that stand for clean text, and cut.
    func pieces(of text: String) -> [Piece] {
        split(Substring(text), at: special.filter { !$0.isNormalized }) { typed in
            let clean = String(typed).precomposedStringWithCanonicalMapping.lowercased()
            return split(Substring(clean), at: special.filter(\.isNormalized)) { words(of: $0).map(Piece.word) }
        }
    }

    private func split(
        _ text: Substring, at tokens: [SpecialToken], _ between: (Substring) -> [Piece]
    ) -> [Piece] {
        var pieces: [Piece] = []
        var rest = text
        while let (range, id) = first(of: tokens, in: rest) {
            pieces += between(rest[..<range.lowerBound])
            pieces.append(.special(id))
            rest = rest[range.upperBound...]
        }
        return pieces + between(rest)
    }

    private func first(of tokens: [SpecialToken], in text: Substring) -> (Range<String.Index>, Int32)? {
        tokens.compactMap { token in
            text.range(of: token.text, options: .literal).map { ($0, token.id) }
        }
        .min { $0.0.lowerBound < $1.0.lowerBound }
    }

    private func words(of text: Substring) -> [String] {
        let scalars = Array(text.unicodeScalars)
        let kinds = scalars.map(Kind.init)
        var words: [String] = []
        var start = 0
        while start < scalars.count {
            let end = wordEnd(scalars, kinds, from: start)
            if kinds[start] != .space { words.append(joined(scalars[start..<end])) }
            start = end
        }
        return words
    }

    private func joined(_ scalars: ArraySlice<Unicode.Scalar>) -> String {
        var view = String.UnicodeScalarView()
        view.append(contentsOf: scalars)
        return String(view)
    }

    private enum Kind {
        case space, letter, number, other

        init(_ scalar: Unicode.Scalar) {
            switch scalar.properties.generalCategory {
            case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter: self = .letter
            case .decimalNumber, .letterNumber, .otherNumber: self = .number
            default: self = scalar.properties.isWhitespace ? .space : .other
            }
        }
    }

    private static let contractions = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d"].map { Array($0.unicodeScalars) }

    private func wordEnd(_ scalars: [Unicode.Scalar], _ kinds: [Kind], from start: Int) -> Int {
        if scalars[start] == "'" {
            let rest = scalars[start...]
            if let found = Self.contractions.first(where: { rest.starts(with: $0) }) { return start + found.count }
        }
        if kinds[start] == .number { return start + 1 }
        var end = start + 1
        while end < scalars.count, kinds[end] == kinds[start] { end += 1 }
        return end
    }
}
