import CalderaGraph

/// A step that cuts text into the words that are byte pair encoded; the reference calls it a pre-tokenizer.
indirect enum TokenizerSplitter: Sendable {
    enum PrependScheme: String, Sendable {
        case first, never, always
    }

    /// A piece of the text, and whether it stands at the text's very start.
    struct Word {
        var text: ScalarText
        var isFirst: Bool
    }

    case sequence([TokenizerSplitter])
    case byteLevel(addsSpace: Bool, usesPattern: Bool)
    case split(TextPattern, SplitBehaviour, inverted: Bool)
    case metaspace(Unicode.Scalar, PrependScheme, splits: Bool)
    /// Cuts at scalars of a kind.
    case scalars(Kind, SplitBehaviour)
    /// Rust's `\w+|[^\w\s]+`.
    case words

    enum Kind: Sendable {
        case space, number, punctuation
        case delimiter(Unicode.Scalar)
    }

    private static let known = [
        "Sequence", "ByteLevel", "Split", "Metaspace", "Whitespace", "WhitespaceSplit", "Digits", "Punctuation",
        "CharDelimiterSplit",
    ]

    init(_ component: TokenizerComponent) throws {
        switch try component.type() {
        case "Sequence": self = .sequence(try component.components("pretokenizers").map(Self.init))
        case "ByteLevel":
            self = .byteLevel(
                addsSpace: try component.bool("add_prefix_space", default: true),
                usesPattern: try component.bool("use_regex", default: true))
        case "Split":
            self = .split(
                try TextPattern(component, "pattern"), try SplitBehaviour(component),
                inverted: try component.bool("invert", default: false))
        case "Metaspace":
            self = .metaspace(
                try component.scalar("replacement"), try PrependScheme(component),
                splits: try component.bool("split", default: true))
        case "Whitespace": self = .words
        case "WhitespaceSplit": self = .scalars(.space, .removed)
        case "Digits":
            let single = try component.bool("individual_digits", default: false)
            self = .scalars(.number, single ? .isolated : .contiguous)
        case "Punctuation": self = .scalars(.punctuation, try SplitBehaviour(component, default: .isolated))
        case "CharDelimiterSplit": self = .scalars(.delimiter(try component.scalar("delimiter")), .removed)
        default: throw try component.unknown("pre-tokenizer", Self.known)
        }
    }

    func words(_ word: Word) throws -> [Word] {
        switch self {
        case .sequence(let steps):
            return try steps.reduce([word]) { words, step in try words.flatMap(step.words) }
        case .byteLevel(let addsSpace, let usesPattern):
            return try Self.byteLevel(word, addsSpace: addsSpace, usesPattern: usesPattern)
        case .split(let pattern, let behaviour, let inverted):
            return word.cut(behaviour.pieces(try pattern.matches(word.text), word.text.count, inverted: inverted))
        case .metaspace(let replacement, let scheme, let splits):
            return Self.metaspace(word, replacement, scheme, splits)
        case .scalars(let kind, let behaviour):
            let matches = word.text.indices.filter { kind.contains(word.text[$0]) }.map { $0..<($0 + 1) }
            return word.cut(behaviour.pieces(matches, word.text.count))
        case .words: return word.cut(Self.runs(word.text))
        }
    }

    private static func byteLevel(_ word: Word, addsSpace: Bool, usesPattern: Bool) throws -> [Word] {
        var word = word
        if addsSpace, word.text.first != " " { word.text.insert(" ", at: 0) }
        var words = [word]
        if usesPattern {
            words = word.cut(SplitBehaviour.isolated.pieces(try gpt2.get().matches(word.text), word.text.count))
        }
        return words.map { Word(text: ByteLetters.letters($0.text), isFirst: $0.isFirst) }
    }

    /// GPT-2's pattern.
    private static let gpt2 = Result {
        try PatternProgram(
            #"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#, place: "ByteLevel")
    }

    private static func metaspace(
        _ word: Word, _ replacement: Unicode.Scalar, _ scheme: PrependScheme, _ splits: Bool
    ) -> [Word] {
        var word = word
        word.text = word.text.map { $0 == " " ? replacement : $0 }
        let prepends = scheme == .always || scheme == .first && word.isFirst
        if prepends, word.text.first != replacement { word.text.insert(replacement, at: 0) }
        if !splits { return [word] }
        let matches = word.text.indices.filter { word.text[$0] == replacement }.map { $0..<($0 + 1) }
        return word.cut(SplitBehaviour.mergedWithNext.pieces(matches, word.text.count))
    }

    /// The runs of word scalars and those of what is neither word nor space.
    private static func runs(_ text: ScalarText) -> [Range<Int>] {
        func kind(_ scalar: Unicode.Scalar) -> Int {
            if scalar.isRustWord { return 1 }
            return scalar.properties.isWhitespace ? 0 : 2
        }
        var runs: [Range<Int>] = []
        var start = 0
        while start < text.count {
            let first = kind(text[start])
            let end = text[start...].firstIndex { kind($0) != first } ?? text.count
            if first != 0 { runs.append(start..<end) }
            start = end
        }
        return runs
    }
}

extension TokenizerSplitter.PrependScheme {
    /// Reads `prepend_scheme`, or `add_prefix_space` of older files.
    init(_ component: TokenizerComponent) throws {
        let adds = try component.bool("add_prefix_space", default: true)
        let name = try component.string("prepend_scheme", default: adds ? "always" : "never")
        guard let scheme = Self(rawValue: name) else {
            throw CalderaError(
                "\(component.place): the prepend_scheme \"\(name)\" is not supported; "
                    + "Caldera knows first, never, always."
            )
        }
        self = scheme
    }
}

extension TokenizerSplitter.Word {
    func cut(_ pieces: [Range<Int>]) -> [TokenizerSplitter.Word] {
        pieces.map { .init(text: Array(text[$0]), isFirst: isFirst && $0.lowerBound == 0) }
    }
}

extension TokenizerSplitter.Kind {
    func contains(_ scalar: Unicode.Scalar) -> Bool {
        switch self {
        case .space: scalar.properties.isWhitespace
        case .number: scalar.isNumber
        case .punctuation: scalar.isPunctuation
        case .delimiter(let delimiter): scalar == delimiter
        }
    }
}

extension Unicode.Scalar {
    fileprivate var isNumber: Bool {
        switch properties.generalCategory {
        case .decimalNumber, .letterNumber, .otherNumber: true
        default: false
        }
    }

    /// Punctuation by the reference's table, which is that of Unicode 8, and ASCII's signs.
    fileprivate var isPunctuation: Bool {
        switch value {
        case 33...47, 58...64, 91...96, 123...126, 0x166D, 0x111C9: return true
        default: break
        }
        switch properties.generalCategory {
        case .connectorPunctuation, .dashPunctuation, .openPunctuation, .closePunctuation, .initialPunctuation,
            .finalPunctuation, .otherPunctuation:
            return isKnown(in: 8)
        default: return false
        }
    }
}
