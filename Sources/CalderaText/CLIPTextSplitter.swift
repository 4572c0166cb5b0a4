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
    /// `<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+`.
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
                forEachMarkerPart(text[position..<marker]) { body(utf8($0)) }
                position = marker
                continue
            } else if kind != .number {
                while end < text.endIndex, self.kind(text[end]) == kind { end += 1 }
            }
            body(utf8(text[position..<end]))
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
        case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter:
            return isKnownToReference(properties) ? .letter : .other
        case .decimalNumber, .letterNumber, .otherNumber:
            return isKnownToReference(properties) ? .number : .other
        default:
            return properties.isWhitespace ? .space : .other
        }
    }

    /// The reference's tables are those of Unicode 16: to it, letters that came later are signs like any other.
    private static func isKnownToReference(_ properties: Unicode.Scalar.Properties) -> Bool {
        (properties.age?.major ?? .max) <= 16
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

    private static func markerEnd(_ text: ArraySlice<Unicode.Scalar>, _ position: Int) -> Int? {
        guard text[position] == "<" else { return nil }
        return markers.first { text[position...].starts(with: $0) }.map { position + $0.count }
    }

    /// The reference's expression takes a marker as one match, and its byte-level step then cuts that at the letters.
    /// A vocabulary that declares the markers as special tokens never lets them come this far.
    private static func forEachMarkerPart(
        _ marker: ArraySlice<Unicode.Scalar>, _ body: (ArraySlice<Unicode.Scalar>) -> Void
    ) {
        body(marker.prefix(2))
        body(marker.dropFirst(2).dropLast(2))
        body(marker.suffix(2))
    }

    private static func utf8(_ scalars: ArraySlice<Unicode.Scalar>) -> [UInt8] {
        scalars.flatMap { Array(UTF8.encode($0) ?? UTF8.encodedReplacementCharacter) }
    }
}
