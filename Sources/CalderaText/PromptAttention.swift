import CalderaGraph

/// A run of a prompt, and what the hidden states of its tokens are multiplied by.
package struct WeightedText: Sendable, Equatable {
    package var text: String
    package var weight: Double

    package init(_ text: String, _ weight: Double) {
        self.text = text
        self.weight = weight
    }

    /// Whether this is no text but the end of a chunk. A BREAK within brackets has another weight and is a word.
    package var isBreak: Bool { self == WeightedText.chunkBreak }

    static let chunkBreak = WeightedText("BREAK", -1)
}

/// The web UI's emphasis: `(a)` weighs 1.1, `[a]` 1/1.1, `(a:1.3)` 1.3; nested weights multiply, a backslash makes a
/// bracket plain text, brackets that are never closed reach to the end, and `BREAK` ends a chunk.
/// Reference: stable-diffusion-webui 1.10, `modules/prompt_parser.py`, `parse_prompt_attention`.
package enum PromptAttention {
    static let round = 1.1
    static let square = 1 / 1.1

    /// The prompt's runs in order, neighbours of one weight joined; the weights are the web UI's to the last bit.
    /// Throws a usage error for a weight such as `(a:1.2.3)`, which is no number.
    package static func parse(_ prompt: String) throws -> [WeightedText] {
        var runs = AttentionRuns()
        var scanner = AttentionScanner(prompt)
        while let mark = try scanner.next() { runs.add(mark) }
        return runs.finished()
    }
}

/// What the prompt is made of, from left to right.
private enum AttentionMark {
    case openRound, openSquare, closeRound, closeSquare
    /// `:1.3)`, and how it was written.
    case weight(Double, written: ArraySlice<Unicode.Scalar>)
    /// What a backslash stood before.
    case escaped(String)
    case text(ArraySlice<Unicode.Scalar>)
}

private struct AttentionScanner {
    private let scalars: [Unicode.Scalar]
    private var position = 0

    init(_ prompt: String) { scalars = Array(prompt.unicodeScalars) }

    mutating func next() throws -> AttentionMark? {
        guard position < scalars.count else { return nil }
        let start = position
        position += 1
        switch scalars[start] {
        case "(": return .openRound
        case "[": return .openSquare
        case ")": return .closeRound
        case "]": return .closeSquare
        case "\\": return escaped()
        case ":":
            if let weight = try weight(from: start) { return weight }
        default:
            while position < scalars.count, !Self.special.contains(scalars[position]) { position += 1 }
        }
        return .text(scalars[start..<position])
    }

    private static let special: Set<Unicode.Scalar> = ["\\", "(", ")", "[", "]", ":"]

    /// A backslash before anything but a bracket or another backslash leaves nothing of itself.
    private mutating func escaped() -> AttentionMark {
        guard position < scalars.count, scalars[position] != ":", Self.special.contains(scalars[position]) else {
            return .escaped("")
        }
        position += 1
        return .escaped(String(scalars[position - 1]))
    }

    /// `:`, a number and `)`, with white space between them.
    private mutating func weight(from start: Int) throws -> AttentionMark? {
        guard let end = scalars[position...].firstIndex(where: { !Self.isPartOfWeight($0) }), scalars[end] == ")",
            let number = scalars[position..<end].trimmedStart().trimmedEnd().patternNumber
        else { return nil }
        position = end + 1
        let written = scalars[start..<position]
        guard number.isFinite else {
            throw CalderaError.usage(
                "The prompt has the weight \"\(written.text)\", which is no number: write it as in (word:1.2).")
        }
        return .weight(number, written: written)
    }

    private static func isPartOfWeight(_ scalar: Unicode.Scalar) -> Bool {
        scalar.isPatternSpace || scalar == "+" || scalar == "-" || scalar == "." || scalar.patternDigit != nil
    }
}

private struct AttentionRuns {
    private var runs: [WeightedText] = []
    /// Where each bracket that is still open stands: the number of runs before it.
    private var round: [Int] = []
    private var square: [Int] = []

    mutating func add(_ mark: AttentionMark) {
        switch mark {
        case .openRound: round.append(runs.count)
        case .openSquare: square.append(runs.count)
        case .escaped(let text): runs.append(WeightedText(text, 1))
        case .text(let text): add(text)
        case .weight(let weight, let written):
            if let start = round.popLast() { multiply(from: start, by: weight) } else { add(written) }
        case .closeRound:
            if let start = round.popLast() { multiply(from: start, by: PromptAttention.round) } else { add([")"]) }
        case .closeSquare:
            if let start = square.popLast() { multiply(from: start, by: PromptAttention.square) } else { add(["]"]) }
        }
    }

    mutating func finished() -> [WeightedText] {
        for start in round { multiply(from: start, by: PromptAttention.round) }
        for start in square { multiply(from: start, by: PromptAttention.square) }
        var joined: [WeightedText] = []
        for run in runs {
            if let last = joined.last, last.weight == run.weight {
                joined[joined.count - 1].text.unicodeScalars.append(contentsOf: run.text.unicodeScalars)
            } else {
                joined.append(run)
            }
        }
        return joined.isEmpty ? [WeightedText("", 1)] : joined
    }

    private mutating func multiply(from start: Int, by factor: Double) {
        for index in start..<runs.count { runs[index].weight *= factor }
    }

    /// Text, cut at each BREAK, which takes the white space round it along.
    private mutating func add(_ text: ArraySlice<Unicode.Scalar>) {
        var rest = text
        for position in text.wholeWords(Self.breakWord) {
            runs.append(WeightedText(text[rest.startIndex..<position].trimmedEnd().text, 1))
            runs.append(.chunkBreak)
            rest = text[(position + Self.breakWord.count)...].trimmedStart()
        }
        runs.append(WeightedText(rest.text, 1))
    }

    private static let breakWord = Array("BREAK".unicodeScalars)
}
