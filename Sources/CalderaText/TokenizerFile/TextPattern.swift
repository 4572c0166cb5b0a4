import CalderaGraph

/// What a step of a tokenizer looks for: a string as it stands, or a regular expression.
enum TextPattern: Sendable {
    case string(ScalarText)
    case expression(PatternProgram)

    /// Reads `{"String": ...}`, `{"Regex": ...}` or a bare string. Throws `CalderaError` for anything else.
    init(_ component: TokenizerComponent, _ key: String) throws {
        if case .string(let text)? = component.value(key) {
            self = .string(ScalarText(text))
        } else if let pattern = try component.component(key), pattern.value("Regex") != nil {
            self = .expression(try PatternProgram(pattern.string("Regex"), place: component.place))
        } else if let pattern = try component.component(key), pattern.value("String") != nil {
            self = .string(ScalarText(try pattern.string("String")))
        } else {
            throw CalderaError("\(component.place): \"\(key)\" is neither a \"String\" nor a \"Regex\".")
        }
    }

    func matches(_ text: ScalarText) throws -> [Range<Int>] {
        switch self {
        case .string(let string): text.occurrences(of: string).map { $0..<($0 + string.count) }
        case .expression(let program): try program.matches(text)
        }
    }
}

/// What becomes of the matches when text is cut at them.
enum SplitBehaviour: String, CaseIterable, Sendable {
    case removed = "Removed"
    case isolated = "Isolated"
    case mergedWithPrevious = "MergedWithPrevious"
    case mergedWithNext = "MergedWithNext"
    case contiguous = "Contiguous"

    init(_ component: TokenizerComponent, default fallback: SplitBehaviour? = nil) throws {
        let name = try component.string("behavior", default: fallback?.rawValue)
        guard let behaviour = Self(rawValue: name) else {
            throw CalderaError(
                "\(component.place): the behavior \"\(name)\" is not supported; Caldera knows "
                    + Self.allCases.map(\.rawValue).joined(separator: ", ") + ".")
        }
        self = behaviour
    }

    /// The pieces of a text of `count` scalars, without empty ones.
    /// Reference: tokenizers, `NormalizedString::split`.
    func pieces(_ matches: [Range<Int>], _ count: Int, inverted: Bool = false) -> [Range<Int>] {
        let parts = Self.parts(matches, count, inverted)
        var pieces: [Range<Int>] = []
        switch self {
        case .removed: pieces = parts.filter { !$0.isMatch }.map(\.range)
        case .isolated: pieces = parts.map(\.range)
        case .contiguous, .mergedWithPrevious:
            var wasMatch = false
            for part in parts {
                let joins = self == .contiguous ? part.isMatch == wasMatch : part.isMatch && !wasMatch
                wasMatch = part.isMatch
                guard joins, let last = pieces.popLast() else {
                    pieces.append(part.range)
                    continue
                }
                pieces.append(last.lowerBound..<part.range.upperBound)
            }
        case .mergedWithNext:
            var wasMatch = false
            for part in parts.reversed() {
                let joins = part.isMatch && !wasMatch
                wasMatch = part.isMatch
                guard joins, let next = pieces.popLast() else {
                    pieces.append(part.range)
                    continue
                }
                pieces.append(part.range.lowerBound..<next.upperBound)
            }
            pieces.reverse()
        }
        return pieces.filter { !$0.isEmpty }
    }

    /// The matches and what lies between them.
    private static func parts(
        _ matches: [Range<Int>], _ count: Int, _ inverted: Bool
    ) -> [(range: Range<Int>, isMatch: Bool)] {
        var parts: [(range: Range<Int>, isMatch: Bool)] = []
        var position = 0
        for match in matches {
            if position < match.lowerBound { parts.append((position..<match.lowerBound, inverted)) }
            parts.append((match, !inverted))
            position = match.upperBound
        }
        if position < count || count == 0 { parts.append((position..<count, inverted)) }
        return parts
    }
}
