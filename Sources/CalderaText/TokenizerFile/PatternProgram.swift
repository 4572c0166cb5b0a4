import CalderaGraph

/// A regular expression as a program for a backtracking machine: the part of Oniguruma's syntax that tokenizers are
/// written in (see `PatternParser`), on Unicode scalars.
///
/// The steps are those of Russ Cox, "Regular Expression Matching: the Virtual Machine Approach" (2009), run depth first
/// so that of several matches the one that Oniguruma prefers is found: the first alternative, the longest repetition.
struct PatternProgram: Sendable {
    indirect enum Step: Sendable {
        case take(ScalarClass)
        /// Goes on at the first step, and at the second if that fails.
        case either(Int, Int)
        case jump(Int)
        /// Goes on if the program matches here (or does not), and takes nothing.
        case look([Step], isMatch: Bool)
        /// Takes the first match of the program, and never another.
        case atomic([Step])
        case start
        case end
        case lineStart
        case lineEnd
        case match
    }

    private let steps: [Step]
    /// For messages.
    private let pattern: String

    /// Throws `CalderaError` when the pattern uses syntax that is not supported.
    init(_ pattern: String, place: String) throws {
        self.pattern = pattern
        steps = try PatternParser.parse(pattern, place: place)
    }

    /// The matches that overlap no earlier one, leftmost first. An empty match right behind another match is none.
    /// Throws when the pattern needs unreasonably many steps for this text.
    func matches(_ text: ScalarText) throws -> [Range<Int>] {
        var run = PatternRun(text: text)
        var matches: [Range<Int>] = []
        var position = 0
        while position <= text.count {
            guard let end = run.end(of: steps, at: position) else {
                if run.isExhausted { throw exhausted(text) }
                position += 1
                continue
            }
            if end > position {
                matches.append(position..<end)
                position = end
            } else {
                if matches.last?.upperBound != position { matches.append(position..<position) }
                position += 1
            }
        }
        return matches
    }

    private func exhausted(_ text: ScalarText) -> CalderaError {
        CalderaError(
            "The tokenizer's pattern \(pattern) takes too long on a text of \(text.count) characters: shorten the text."
        )
    }
}

/// The state of the machine on one text.
private struct PatternRun {
    let text: ScalarText
    /// Patterns of tokenizers take a few steps for each scalar; one that backtracks without end takes more than these.
    private var left: Int

    init(text: ScalarText) {
        self.text = text
        left = 20_000_000 + 2_000 * text.count
    }

    var isExhausted: Bool { left <= 0 }

    /// Where the match that starts at `start` ends.
    mutating func end(of steps: [PatternProgram.Step], at start: Int) -> Int? {
        var waiting: [(step: Int, position: Int)] = [(0, start)]
        while let (first, place) = waiting.popLast() {
            var step = first
            var position = place
            thread: while left > 0 {
                left -= 1
                switch steps[step] {
                case .take(let scalars):
                    guard position < text.count, scalars.contains(text[position]) else { break thread }
                    position += 1
                    step += 1
                case .either(let preferred, let other):
                    waiting.append((other, position))
                    step = preferred
                case .jump(let target): step = target
                case .look(let inner, let isMatch):
                    guard (end(of: inner, at: position) != nil) == isMatch else { break thread }
                    step += 1
                case .atomic(let inner):
                    guard let end = end(of: inner, at: position) else { break thread }
                    position = end
                    step += 1
                case .start, .end, .lineStart, .lineEnd:
                    guard isAnchored(steps[step], position) else { break thread }
                    step += 1
                case .match: return position
                }
            }
            if left <= 0 { return nil }
        }
        return nil
    }

    private func isAnchored(_ step: PatternProgram.Step, _ position: Int) -> Bool {
        switch step {
        case .start: position == 0
        case .end: position == text.count
        case .lineStart: position == 0 || position < text.count && text[position - 1] == "\n"
        case .lineEnd: position == text.count || text[position] == "\n"
        default: true
        }
    }
}
