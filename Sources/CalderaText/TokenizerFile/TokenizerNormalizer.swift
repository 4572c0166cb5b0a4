import CalderaGraph
import Foundation

/// A step that rewrites text before it is cut.
indirect enum TokenizerNormalizer: Sendable {
    enum Form: Sendable {
        case nfc, nfd, nfkc, nfkd
    }

    case sequence([TokenizerNormalizer])
    case prepend(ScalarText)
    case replace(TextPattern, ScalarText)
    case form(Form)
    case lowercase
    case strip(left: Bool, right: Bool)
    case stripAccents
    case byteLevel

    private static let known = [
        "Sequence", "Prepend", "Replace", "NFC", "NFD", "NFKC", "NFKD", "Lowercase", "Strip", "StripAccents",
        "ByteLevel",
    ]

    init(_ component: TokenizerComponent) throws {
        switch try component.type() {
        case "Sequence": self = .sequence(try component.components("normalizers").map(Self.init))
        case "Prepend": self = .prepend(ScalarText(try component.string("prepend")))
        case "Replace":
            self = .replace(try TextPattern(component, "pattern"), ScalarText(try component.string("content")))
        case "NFC": self = .form(.nfc)
        case "NFD": self = .form(.nfd)
        case "NFKC": self = .form(.nfkc)
        case "NFKD": self = .form(.nfkd)
        case "Lowercase": self = .lowercase
        case "Strip":
            self = .strip(
                left: try component.bool("strip_left", default: true),
                right: try component.bool("strip_right", default: true))
        case "StripAccents": self = .stripAccents
        case "ByteLevel": self = .byteLevel
        default: throw try component.unknown("normalizer", Self.known)
        }
    }

    func normalize(_ text: ScalarText) throws -> ScalarText {
        switch self {
        case .sequence(let steps): return try steps.reduce(text) { try $1.normalize($0) }
        case .prepend(let prefix): return text.isEmpty ? text : prefix + text
        case .replace(let pattern, let content): return text.replacing(try pattern.matches(text), with: content)
        case .form(let form): return form.apply(text)
        case .lowercase: return text.flatMap { Array($0.properties.lowercaseMapping.unicodeScalars) }
        case .strip(let left, let right):
            var rest = text[...]
            if left { rest = rest.drop { $0.properties.isWhitespace } }
            while right, let last = rest.last, last.properties.isWhitespace { rest.removeLast() }
            return Array(rest)
        case .stripAccents: return text.filter { !$0.isAccent }
        case .byteLevel: return ByteLetters.letters(text)
        }
    }
}

extension TokenizerNormalizer.Form {
    /// The reference's tables are those of Unicode 12.0: to it, scalars that came later have no decompositions and
    /// combine with nothing, so that the text on their two sides is normalized by itself.
    fileprivate func apply(_ text: ScalarText) -> ScalarText {
        var result: ScalarText = []
        result.reserveCapacity(text.count)
        var start = 0
        for (position, scalar) in text.enumerated() where !scalar.isKnown(in: 12, minor: 0) {
            result += run(text[start..<position]) + [scalar]
            start = position + 1
        }
        return result + run(text[start...])
    }

    private func run(_ text: ArraySlice<Unicode.Scalar>) -> ScalarText {
        if text.allSatisfy(\.isASCII) { return Array(text) }
        let string = text.text
        return switch self {
        case .nfc: ScalarText(string.precomposedStringWithCanonicalMapping)
        case .nfd: ScalarText(string.decomposedStringWithCanonicalMapping)
        // In two steps: Foundation's one step leaves half-width kana and their marks apart.
        case .nfkc:
            ScalarText(
                string.decomposedStringWithCompatibilityMapping.precomposedStringWithCanonicalMapping)
        case .nfkd: ScalarText(string.decomposedStringWithCompatibilityMapping)
        }
    }
}

extension Unicode.Scalar {
    /// A combining mark by the reference's table, which is that of Unicode 8.
    fileprivate var isAccent: Bool {
        switch value {
        case 0x1CF2, 0x1CF3: return true
        case 0x111C9: return false
        default: break
        }
        switch properties.generalCategory {
        case .nonspacingMark, .spacingMark, .enclosingMark: return isKnown(in: 8)
        default: return false
        }
    }
}
