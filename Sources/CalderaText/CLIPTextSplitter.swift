import Foundation

/// Turns text into the words that are byte pair encoded, as transformers' `CLIPTokenizer` does.
enum CLIPTextSplitter {
    /// NFC, then each run of white space becomes one space, then each scalar its full lower case mapping (without
    /// regard to its neighbours: a capital sigma is always σ).
    static func normalize(_ text: Substring.UnicodeScalarView) -> [Unicode.Scalar] {
        var normalized: [Unicode.Scalar] = []
        normalized.reserveCapacity(text.count)
        let isASCII = text.allSatisfy(\.isASCII)
        let composed = isASCII ? String(Substring(text)) : String(Substring(text)).precomposedStringWithCanonicalMapping
        for scalar in composed.unicodeScalars {
            switch kind(scalar) {
            case .space:
                if normalized.last != " " { normalized.append(" ") }
            default:
                appendLowercase(scalar, to: &normalized)
            }
        }
        return normalized
    }

    /// Calls `body` with the UTF-8 of each word of normalized text: the matches of
    /// `'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+`.
    static func forEachWord(_ text: ArraySlice<Unicode.Scalar>, _ body: ([UInt8]) -> Void) {
        var position = text.startIndex
        while position < text.endIndex {
            let kind = kind(text[position])
            var end = position + 1
            if kind == .space {
                position = end
                continue
            }
            if let contraction = contractionEnd(text, position) {
                end = contraction
            } else if let marker = markerEnd(text, position) {
                end = marker
            } else if kind != .number {
                while end < text.endIndex, self.kind(text[end]) == kind { end += 1 }
            }
            body(text[position..<end].flatMap { Array(UTF8.encode($0) ?? UTF8.encodedReplacementCharacter) })
            position = end
        }
    }

    private enum Kind {
        case letter, number, space, other
    }

    private static func kind(_ scalar: Unicode.Scalar) -> Kind {
        if scalar.isASCII {
            switch scalar.value {
            case 0x61...0x7A, 0x41...0x5A: return .letter
            case 0x30...0x39: return .number
            case 0x20, 0x09...0x0D: return .space
            default: return .other
            }
        }
        let properties = scalar.properties
        switch properties.generalCategory {
        case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter: return .letter
        case .decimalNumber, .letterNumber, .otherNumber: return .number
        default: return properties.isWhitespace ? .space : .other
        }
    }

    private static func appendLowercase(_ scalar: Unicode.Scalar, to scalars: inout [Unicode.Scalar]) {
        guard scalar.isASCII else {
            return scalars.append(contentsOf: scalar.properties.lowercaseMapping.unicodeScalars)
        }
        let isUpper = (0x41...0x5A).contains(scalar.value)
        scalars.append(isUpper ? Unicode.Scalar(UInt8(scalar.value) + 0x20) : scalar)
    }

    private static let contractions: [[Unicode.Scalar]] = ["s", "t", "re", "ve", "m", "ll", "d"].map {
        Array($0.unicodeScalars)
    }

    private static func contractionEnd(_ text: ArraySlice<Unicode.Scalar>, _ position: Int) -> Int? {
        guard text[position] == "'" else { return nil }
        let rest = text[(position + 1)...]
        return contractions.first { rest.starts(with: $0) }.map { position + 1 + $0.count }
    }

    private static let markers: [[Unicode.Scalar]] = ["<|startoftext|>", "<|endoftext|>"].map {
        Array($0.unicodeScalars)
    }

    /// The reference's expression names the two markers as words of their own, and then cuts them again at their
    /// letters; what is left of that is that a marker's "<|" and "|>" end there whatever sign follows.
    /// A vocabulary that knows the markers as special tokens never lets them come this far.
    private static func markerEnd(_ text: ArraySlice<Unicode.Scalar>, _ position: Int) -> Int? {
        if text[position] == "<", markers.contains(where: { text[position...].starts(with: $0) }) {
            return position + 2
        }
        guard text[position] == "|" else { return nil }
        let isEnd = markers.contains { marker in
            let start = position + 2 - marker.count
            return start >= text.startIndex && text[start...].starts(with: marker)
        }
        return isEnd ? position + 2 : nil
    }
}
