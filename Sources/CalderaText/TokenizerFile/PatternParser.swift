import CalderaGraph

/// Reads the part of Oniguruma's syntax that tokenizers are written in:
/// alternatives; groups `(...)`, `(?:...)`, `(?i:...)`, `(?>...)`; looking ahead `(?=...)`, `(?!...)`; repetitions
/// `? * + {n} {n,} {n,m} {,m}`, lazy with `?`; possessive `?+ *+ ++`; sets `[...]` and `[^...]` with ranges and sets in
/// them; `\s \S \d \D \w \W`, `\p{L}` and other general categories, `\P{L}`, `\p{^L}`; `.`; `\r \n \t \f \v`, `\xHH`
/// and `\uHHHH`; `^` and `$` as the ends of a line, `\A` and `\z` as those of the text.
///
/// Looking behind, back references, names, scripts such as `\p{Han}` and repetitions of what can be empty are errors.
struct PatternParser {
    typealias Step = PatternProgram.Step

    private let scalars: ScalarText
    private var position = 0
    private var ignoresCase = false
    private var depth = 0
    private let failure: CalderaError

    static func parse(_ pattern: String, place: String) throws -> [Step] {
        var parser = PatternParser(pattern, place: place)
        let steps = try parser.alternatives()
        guard parser.position == parser.scalars.count else { throw parser.failure }
        return steps + [.match]
    }

    private init(_ pattern: String, place: String) {
        scalars = ScalarText(pattern)
        failure = CalderaError(
            "\(place): the pattern \(pattern) is malformed or uses syntax that is not supported (scripts, looking "
                + "behind, back references).")
    }

    private mutating func alternatives() throws -> [Step] {
        depth += 1
        defer { depth -= 1 }
        guard depth <= 64 else { throw failure }
        let outer = ignoresCase
        defer { ignoresCase = outer }
        var branches = [try sequence()]
        while take("|") { branches.append(try sequence()) }
        return branches.dropLast().reversed().reduce(branches[branches.count - 1]) { rest, branch in
            [.either(1, branch.count + 2)] + Self.moved(branch, by: 1) + [.jump(branch.count + rest.count + 2)]
                + Self.moved(rest, by: branch.count + 2)
        }
    }

    private mutating func sequence() throws -> [Step] {
        var steps: [Step] = []
        while let next = peek, next != "|", next != ")" {
            let item = try repeated(try item())
            steps += Self.moved(item, by: steps.count)
        }
        return steps
    }

    private mutating func repeated(_ item: [Step]) throws -> [Step] {
        var item = item
        while let (least, most) = try bounds() {
            guard most != nil || !Self.canBeEmpty(item) else { throw failure }
            let isCounted = scalars[position - 1] == "}"
            let isLazy = take("?")
            // In Ruby's syntax {n}? is something else again.
            if isLazy, isCounted, least == most { throw failure }
            let body = try loop(item, least, most, isLazy: isLazy)
            // Behind {n,m} a + is another repetition, in Ruby's syntax.
            let isPossessive = !isLazy && !isCounted && take("+")
            item = isPossessive ? [.atomic(body + [.match])] : body
        }
        return item
    }

    /// The bounds of a repetition at this place, if there is one.
    private mutating func bounds() throws -> (least: Int, most: Int?)? {
        if take("?") { return (0, 1) }
        if take("*") { return (0, nil) }
        if take("+") { return (1, nil) }
        guard peek == "{" else { return nil }
        position += 1
        let least = try number()
        guard take(",") else {
            guard let least, take("}") else { throw failure }
            return (least, least)
        }
        let most = try number()
        guard take("}"), least != nil || most != nil, (least ?? 0) <= (most ?? .max) else { throw failure }
        return (least ?? 0, most)
    }

    private mutating func number() throws -> Int? {
        var digits = ""
        while let digit = peek, ("0"..."9").contains(digit) {
            digits.unicodeScalars.append(digit)
            position += 1
        }
        if digits.isEmpty { return nil }
        guard let number = Int(digits), number <= 1000 else { throw failure }
        return number
    }

    private func loop(_ item: [Step], _ least: Int, _ most: Int?, isLazy: Bool) throws -> [Step] {
        guard item.count * max(least, most ?? 0) <= 10_000 else { throw failure }
        func either(_ inside: Int, _ outside: Int) -> Step {
            isLazy ? .either(outside, inside) : .either(inside, outside)
        }
        var steps: [Step] = []
        for _ in 0..<least { steps += Self.moved(item, by: steps.count) }
        guard let most else {
            let start = steps.count
            steps += [either(start + 1, start + item.count + 2)] + Self.moved(item, by: start + 1) + [.jump(start)]
            return steps
        }
        let end = steps.count + (most - least) * (item.count + 1)
        for _ in least..<most {
            steps += [either(steps.count + 1, end)] + Self.moved(item, by: steps.count + 1)
        }
        return steps
    }

    private mutating func item() throws -> [Step] {
        guard let scalar = peek else { throw failure }
        position += 1
        switch scalar {
        case "(": return try group()
        case "[": return [.take(try set())]
        case ".": return [.take(ScalarClass(members: [.property(.newline)], isNegated: true))]
        case "^": return [.lineStart]
        case "$": return [.lineEnd]
        case "\\":
            if take("A") { return [.start] }
            if take("z") { return [.end] }
            return [.take(ScalarClass(members: [try escape()], ignoresCase: ignoresCase))]
        case "?", "*", "+", "{": throw failure
        default: return [.take(ScalarClass(members: [.scalar(scalar)], ignoresCase: ignoresCase))]
        }
    }

    private mutating func group() throws -> [Step] {
        let steps: [Step]
        if take("?=") {
            steps = [.look(try alternatives() + [.match], isMatch: true)]
        } else if take("?!") {
            steps = [.look(try alternatives() + [.match], isMatch: false)]
        } else if take("?>") {
            steps = [.atomic(try alternatives() + [.match])]
        } else if take("?i:") {
            let outer = ignoresCase
            ignoresCase = true
            steps = try alternatives()
            ignoresCase = outer
        } else if take("?i)") {
            // Holds up to the end of the group around it, alternatives and all, which then restores the old setting.
            ignoresCase = true
            return try alternatives()
        } else {
            guard take("?:") || peek != "?" else { throw failure }
            steps = try alternatives()
        }
        guard take(")") else { throw failure }
        return steps
    }

    /// The inside of `[...]`.
    private mutating func set() throws -> ScalarClass {
        depth += 1
        defer { depth -= 1 }
        guard depth <= 64 else { throw failure }
        var set = ScalarClass(isNegated: take("^"), ignoresCase: ignoresCase)
        var isFirst = true
        while let scalar = peek, isFirst || scalar != "]" {
            isFirst = false
            position += 1
            if scalar == "&", peek == "&" { throw failure }
            let member = try member(scalar)
            guard case .scalar(let low) = member, peek == "-", let after = peek(1), after != "]" else {
                set.members.append(member)
                continue
            }
            position += 2
            guard case .scalar(let high) = try self.member(after), low.value <= high.value else { throw failure }
            set.members.append(.range(low.value...high.value))
        }
        guard take("]"), !set.members.isEmpty else { throw failure }
        return set
    }

    private mutating func member(_ scalar: Unicode.Scalar) throws -> ScalarClass.Member {
        switch scalar {
        case "[":
            guard peek != ":" else { throw failure }
            return .set(try set())
        case "\\": return try escape()
        default: return .scalar(scalar)
        }
    }

    /// What stands behind a backslash.
    private mutating func escape() throws -> ScalarClass.Member {
        guard let scalar = peek else { throw failure }
        position += 1
        switch scalar {
        case "s", "S": return property(.space, isNegated: scalar == "S")
        case "d", "D": return property(.digit, isNegated: scalar == "D")
        case "w", "W": return property(.word, isNegated: scalar == "W")
        case "p", "P": return try named(isNegated: scalar == "P")
        case "n": return .scalar("\n")
        case "r": return .scalar("\r")
        case "t": return .scalar("\t")
        case "f": return .scalar("\u{0C}")
        case "v": return .scalar("\u{0B}")
        case "x": return try take("{") ? hexadecimal(1...6, closing: true) : hexadecimal(2...2, closing: false)
        case "u": return try hexadecimal(4...4, closing: false)
        default:
            let isWord = scalar.isASCII && scalar.isPatternWord && scalar != "_"
            if isWord { throw failure }
            return .scalar(scalar)
        }
    }

    private func property(_ property: ScalarProperty, isNegated: Bool) -> ScalarClass.Member {
        isNegated ? .set(ScalarClass(members: [.property(property)], isNegated: true)) : .property(property)
    }

    private mutating func named(isNegated: Bool) throws -> ScalarClass.Member {
        guard take("{") else { throw failure }
        let isNegated = take("^") != isNegated
        var name = ""
        while let scalar = peek, scalar != "}" {
            name.unicodeScalars.append(scalar)
            position += 1
        }
        guard take("}"), let category = ScalarProperty.category(name) else { throw failure }
        return property(category, isNegated: isNegated)
    }

    private mutating func hexadecimal(_ lengths: ClosedRange<Int>, closing: Bool) throws -> ScalarClass.Member {
        var digits = ""
        while digits.count < lengths.upperBound, let scalar = peek, scalar.properties.isASCIIHexDigit {
            digits.unicodeScalars.append(scalar)
            position += 1
        }
        guard digits.count >= lengths.lowerBound, !closing || take("}"),
            let scalar = UInt32(digits, radix: 16).flatMap(Unicode.Scalar.init)
        else { throw failure }
        return .scalar(scalar)
    }

    private var peek: Unicode.Scalar? { peek(0) }

    private func peek(_ distance: Int) -> Unicode.Scalar? {
        position + distance < scalars.count ? scalars[position + distance] : nil
    }

    private mutating func take(_ text: String) -> Bool {
        guard scalars[position...].starts(with: text.unicodeScalars) else { return false }
        position += text.unicodeScalars.count
        return true
    }

    /// The steps with their targets at another place.
    private static func moved(_ steps: [Step], by distance: Int) -> [Step] {
        steps.map { step in
            switch step {
            case .either(let first, let second): .either(first + distance, second + distance)
            case .jump(let target): .jump(target + distance)
            default: step
            }
        }
    }

    private static func canBeEmpty(_ steps: [Step]) -> Bool {
        func reachesEnd(_ step: Int, _ seen: inout Set<Int>) -> Bool {
            guard step < steps.count else { return true }
            guard seen.insert(step).inserted else { return false }
            switch steps[step] {
            case .take: return false
            case .either(let first, let second): return reachesEnd(first, &seen) || reachesEnd(second, &seen)
            case .jump(let target): return reachesEnd(target, &seen)
            case .atomic(let inner): return canBeEmpty(inner.dropLast()) && reachesEnd(step + 1, &seen)
            case .look, .start, .end, .lineStart, .lineEnd, .match: return reachesEnd(step + 1, &seen)
            }
        }
        var seen: Set<Int> = []
        return reachesEnd(0, &seen)
    }
}
