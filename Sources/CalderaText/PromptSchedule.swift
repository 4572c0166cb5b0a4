import CalderaGraph

/// The texts that one prompt of the web UI stands for in the course of a run: `[from:to:when]`, `[to:when]` and
/// `[from::when]` change it once, `[a|b]` at every step, and all of them nest.
///
/// Reference: stable-diffusion-webui 1.10, `modules/prompt_parser.py`, `get_learned_conditioning_prompt_schedules`.
/// Its grammar is ambiguous where a bracket without a partner stands beside a group; its parser's choice there differs
/// from one start of the program to the next. Here a group is a group wherever one can be read.
package enum PromptSchedule {
    package struct Entry: Sendable, Equatable {
        /// The last step at which the text holds, counted from 1; the last entry's is the number of steps.
        package let lastStep: Int
        package let text: String

        package init(lastStep: Int, text: String) {
            self.lastStep = lastStep
            self.text = text
        }
    }

    /// The entries in order. `when` is a fraction of `steps` where it is written with a point, else a step.
    /// A prompt that the grammar cannot read (a lone `|`, a backslash at the end) stands for itself.
    /// Throws a usage error for brackets that nest deeper than anybody means, and for less than one step.
    package static func entries(_ prompt: String, steps: Int) throws -> [Entry] {
        guard steps >= 1 else { throw CalderaError.usage("A prompt's schedule needs at least one step, not \(steps).") }
        var parser = ScheduleParser(prompt)
        guard let pieces = try parser.parse() else { return [Entry(lastStep: steps, text: prompt)] }
        var changes: Set<Int> = [steps]
        for piece in pieces { piece.collectChanges(steps: steps, into: &changes) }
        return changes.sorted().map { step in
            var text = String.UnicodeScalarView()
            for piece in pieces { piece.append(to: &text, step: step, of: steps) }
            return Entry(lastStep: step, text: String(text))
        }
    }
}

private indirect enum SchedulePiece {
    case text(ArraySlice<Unicode.Scalar>)
    case sequence([SchedulePiece])
    case alternation([[SchedulePiece]])
    case change(before: [SchedulePiece], after: [SchedulePiece], when: ScheduleTime)

    func collectChanges(steps: Int, into changes: inout Set<Int>) {
        switch self {
        case .text: break
        case .sequence(let pieces): for piece in pieces { piece.collectChanges(steps: steps, into: &changes) }
        case .alternation(let choices):
            changes.formUnion(1...steps)
            for piece in choices.joined() { piece.collectChanges(steps: steps, into: &changes) }
        case .change(let before, let after, let when):
            let step = when.step(of: steps)
            if step >= 1 { changes.insert(step) }
            for piece in before + after { piece.collectChanges(steps: steps, into: &changes) }
        }
    }

    func append(to text: inout String.UnicodeScalarView, step: Int, of steps: Int) {
        let chosen: [SchedulePiece]
        switch self {
        case .text(let scalars): return text.append(contentsOf: scalars)
        case .sequence(let pieces): chosen = pieces
        case .alternation(let choices): chosen = choices[(step - 1) % choices.count]
        case .change(let before, let after, let when): chosen = step <= when.step(of: steps) ? before : after
        }
        for piece in chosen { piece.append(to: &text, step: step, of: steps) }
    }
}

private struct ScheduleTime {
    let value: Double
    let isFraction: Bool

    func step(of steps: Int) -> Int {
        let step = isFraction ? value * Double(steps) : value
        return Int(max(min(step, Double(steps)), -1))
    }
}

/// A parser by recursive descent. Each bracket has at most one reading as the start of a group, which is looked up when
/// it is asked for again, so that the time grows with the length of the prompt.
private struct ScheduleParser {
    private let scalars: [Unicode.Scalar]
    private var groups: [Int: (piece: SchedulePiece, end: Int)?] = [:]
    private var depth = 0
    private static let deepest = 200

    init(_ prompt: String) { scalars = Array(prompt.unicodeScalars) }

    /// Groups, text, and brackets and colons without a partner, which are text; nil where none of these fits.
    mutating func parse() throws -> [SchedulePiece]? {
        var pieces: [SchedulePiece] = []
        var position = 0
        while true {
            let (found, end) = try prompt(from: position)
            pieces += found
            guard end < scalars.count else { return pieces }
            guard Self.brackets.contains(scalars[end]) else { return nil }
            pieces.append(.text(scalars[end...end]))
            position = end + 1
        }
    }

    private static let brackets: Set<Unicode.Scalar> = ["[", "]", "(", ")", ":"]

    /// Text and whole groups, as many as follow one another.
    private mutating func prompt(from start: Int) throws -> (pieces: [SchedulePiece], end: Int) {
        var pieces: [SchedulePiece] = []
        var position = start
        while position < scalars.count {
            let end = textEnd(position)
            if end > position {
                pieces.append(.text(scalars[position..<end]))
                position = end
            } else if let group = try group(at: position) {
                pieces.append(group.piece)
                position = group.end
            } else {
                break
            }
        }
        return (pieces, position)
    }

    /// A backslash takes the next character along, unless that is the end of a line.
    private func textEnd(_ start: Int) -> Int {
        var position = start
        while position < scalars.count {
            let scalar = scalars[position]
            if scalar == "\\" {
                guard position + 1 < scalars.count, scalars[position + 1] != "\n" else { break }
                position += 2
            } else if scalar == "|" || Self.brackets.contains(scalar) {
                break
            } else {
                position += 1
            }
        }
        return position
    }

    private mutating func group(at start: Int) throws -> (piece: SchedulePiece, end: Int)? {
        guard scalars[start] == "(" || scalars[start] == "[" else { return nil }
        if let known = groups[start] { return known }
        depth += 1
        defer { depth -= 1 }
        guard depth <= Self.deepest else {
            throw CalderaError.usage("The prompt's brackets nest deeper than \(Self.deepest) levels: remove some.")
        }
        let group = scalars[start] == "(" ? try roundGroup(at: start) : try squareGroup(at: start)
        groups[start] = .some(group)
        return group
    }

    /// `(prompt)` or `(prompt:prompt)`: text to the schedule.
    private mutating func roundGroup(at start: Int) throws -> (piece: SchedulePiece, end: Int)? {
        var (pieces, end) = try prompt(from: start + 1)
        if at(end, ":") {
            let (weight, last) = try prompt(from: end + 1)
            pieces += [.text(scalars[end...end])] + weight
            end = last
        }
        return at(end, ")") ? (bracketed(pieces, start, end), end + 1) : nil
    }

    /// `[prompt]`, which is text, `[a|b|...]`, `[to:when]`, `[from:to:when]`.
    private mutating func squareGroup(at start: Int) throws -> (piece: SchedulePiece, end: Int)? {
        let (first, end) = try prompt(from: start + 1)
        if at(end, "]") { return (bracketed(first, start, end), end + 1) }
        if at(end, "|") { return try alternation(first, from: end) }
        guard at(end, ":") else { return nil }
        if let time = time(from: end + 1) { return (.change(before: [], after: first, when: time.value), time.end) }
        let (second, last) = try prompt(from: end + 1)
        guard at(last, ":"), let time = time(from: last + 1) else { return nil }
        return (.change(before: first, after: second, when: time.value), time.end)
    }

    private mutating func alternation(
        _ first: [SchedulePiece], from start: Int
    ) throws -> (piece: SchedulePiece, end: Int)? {
        var choices = [first]
        var position = start
        while at(position, "|") {
            let (choice, end) = try prompt(from: position + 1)
            choices.append(choice)
            position = end
        }
        return at(position, "]") ? (.alternation(choices), position + 1) : nil
    }

    private func bracketed(_ pieces: [SchedulePiece], _ start: Int, _ end: Int) -> SchedulePiece {
        .sequence([.text(scalars[start...start])] + pieces + [.text(scalars[end...end])])
    }

    /// A number and `]`, with white space between them; and the position behind.
    private func time(from start: Int) -> (value: ScheduleTime, end: Int)? {
        guard let close = scalars[start...].firstIndex(where: { !Self.isPartOfTime($0) }), scalars[close] == "]"
        else { return nil }
        let written = scalars[start..<close].trimmedStart().trimmedEnd()
        guard Self.isNumber(written), let value = Double(written.text) else { return nil }
        return (ScheduleTime(value: value, isFraction: written.contains(".")), close + 1)
    }

    /// Sign, digits with at most one point, exponent: what Python's grammar library calls a signed number.
    private static func isNumber(_ written: ArraySlice<Unicode.Scalar>) -> Bool {
        var rest = written
        if let sign = rest.first, sign == "+" || sign == "-" { rest = rest.dropFirst() }
        let mantissa = rest.prefix { $0 != "e" && $0 != "E" }
        let exponent = rest.dropFirst(mantissa.count + 1)
        let digits = mantissa.filter { $0 != "." }
        guard !digits.isEmpty, mantissa.count - digits.count <= 1, digits.allSatisfy(isDigit) else { return false }
        if mantissa.count == rest.count { return true }
        let power = exponent.first == "+" || exponent.first == "-" ? exponent.dropFirst() : exponent
        return !power.isEmpty && power.allSatisfy(isDigit)
    }

    private static func isPartOfTime(_ scalar: Unicode.Scalar) -> Bool {
        isDigit(scalar) || scalar.isPatternSpace || [".", "+", "-", "e", "E"].contains(scalar)
    }

    private static func isDigit(_ scalar: Unicode.Scalar) -> Bool { ("0"..."9").contains(scalar) }

    private func at(_ position: Int, _ scalar: Unicode.Scalar) -> Bool {
        position < scalars.count && scalars[position] == scalar
    }
}
