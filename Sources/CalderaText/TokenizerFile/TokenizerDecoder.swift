import CalderaGraph

/// A step from the texts of tokens to text. Each takes the list that the step before it gave; in the end the texts are
/// joined.
indirect enum TokenizerDecoder: Sendable {
    case sequence([TokenizerDecoder])
    case replace(TextPattern, ScalarText)
    case byteFallback
    case fuse
    case strip(Unicode.Scalar, start: Int, stop: Int)
    case byteLevel
    case metaspace(Unicode.Scalar, dropsFirst: Bool)
    case wordSuffix(ScalarText)

    private static let known = [
        "Sequence", "Replace", "ByteFallback", "Fuse", "Strip", "ByteLevel", "Metaspace", "BPEDecoder",
    ]

    init(_ component: TokenizerComponent) throws {
        switch try component.type() {
        case "Sequence": self = .sequence(try component.components("decoders").map(Self.init))
        case "Replace":
            self = .replace(try TextPattern(component, "pattern"), ScalarText(try component.string("content")))
        case "ByteFallback": self = .byteFallback
        case "Fuse": self = .fuse
        case "Strip":
            self = .strip(
                try component.scalar("content"), start: try component.int("start", default: 0),
                stop: try component.int("stop", default: 0))
        case "ByteLevel": self = .byteLevel
        case "Metaspace":
            let scheme = try TokenizerSplitter.PrependScheme(component)
            self = .metaspace(try component.scalar("replacement"), dropsFirst: scheme != .never)
        case "BPEDecoder": self = .wordSuffix(ScalarText(try component.string("suffix", default: "</w>")))
        default: throw try component.unknown("decoder", Self.known)
        }
    }

    func decode(_ tokens: [ScalarText]) -> [ScalarText] {
        switch self {
        case .sequence(let steps): return steps.reduce(tokens) { $1.decode($0) }
        case .replace(let pattern, let content):
            // A pattern that takes too long leaves its token as it is.
            return tokens.map { $0.replacing((try? pattern.matches($0)) ?? [], with: content) }
        case .byteFallback: return Self.joinBytes(tokens)
        case .fuse: return [Array(tokens.joined())]
        case .strip(let scalar, let start, let stop): return tokens.map { Self.strip($0, scalar, start, stop) }
        case .byteLevel:
            let bytes = tokens.flatMap { ByteLetters.bytes($0) ?? $0.utf8Bytes }
            return [ScalarText(String(decoding: bytes, as: UTF8.self))]
        case .metaspace(let replacement, let dropsFirst):
            return tokens.enumerated().map { index, token in
                token.compactMap { $0 != replacement ? $0 : index == 0 && dropsFirst ? nil : " " }
            }
        case .wordSuffix(let suffix):
            return tokens.enumerated().map { index, token in
                let matches = token.occurrences(of: suffix).map { $0..<($0 + suffix.count) }
                return token.replacing(matches, with: index == tokens.count - 1 ? [] : [" "])
            }
        }
    }

    /// Runs of tokens that stand for bytes become the text of those bytes, or one U+FFFD for each if it is no text.
    private static func joinBytes(_ tokens: [ScalarText]) -> [ScalarText] {
        var result: [ScalarText] = []
        var bytes: [UInt8] = []
        func flush() {
            if bytes.isEmpty { return }
            let text = String(validating: bytes, as: UTF8.self).map { ScalarText($0) }
            result.append(text ?? bytes.map { _ in "\u{FFFD}" })
            bytes = []
        }
        for token in tokens {
            if let byte = token.count == 6 ? ByteToken.byte(token.utf8Bytes) : nil {
                bytes.append(byte)
            } else {
                flush()
                result.append(token)
            }
        }
        flush()
        return result
    }

    private static func strip(_ token: ScalarText, _ scalar: Unicode.Scalar, _ start: Int, _ stop: Int) -> ScalarText {
        let leading = token.prefix(max(start, 0)).prefix { $0 == scalar }.count
        let trailing = token.reversed().prefix(max(stop, 0)).prefix { $0 == scalar }.count
        return leading + trailing >= token.count ? [] : Array(token[leading..<(token.count - trailing)])
    }
}
