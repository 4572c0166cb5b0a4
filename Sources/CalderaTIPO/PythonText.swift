/// Text with the rules of Python's strings: what TIPO's reference does to tags and sentences depends on them.
/// Two texts are equal when their scalars are, whereas Swift's strings are when they look the same.
package struct PythonText: Hashable, Sendable, ExpressibleByStringLiteral, CustomStringConvertible {
    package var scalars: [Unicode.Scalar]

    package init(_ text: String = "") { scalars = Array(text.unicodeScalars) }

    package init(stringLiteral text: String) { self.init(text) }

    init(_ scalars: some Sequence<Unicode.Scalar>) { self.scalars = Array(scalars) }

    package var string: String {
        var text = String.UnicodeScalarView()
        text.append(contentsOf: scalars)
        return String(text)
    }

    package var description: String { string }
    package var isEmpty: Bool { scalars.isEmpty }
    var count: Int { scalars.count }

    static func + (left: PythonText, right: PythonText) -> PythonText { PythonText(left.scalars + right.scalars) }

    static func += (left: inout PythonText, right: PythonText) { left.scalars += right.scalars }

    /// `str.strip()`.
    func stripped() -> PythonText { stripped(where: \.isPythonSpace) }

    /// `str.strip(characters)`.
    func stripped(of characters: String) -> PythonText {
        let set = Set(characters.unicodeScalars)
        return stripped { set.contains($0) }
    }

    private func stripped(where isStripped: (Unicode.Scalar) -> Bool) -> PythonText {
        guard let start = scalars.firstIndex(where: { !isStripped($0) }),
            let end = scalars.lastIndex(where: { !isStripped($0) })
        else { return PythonText() }
        return PythonText(scalars[start...end])
    }

    /// `str.split(separator)`, for a separator of one scalar.
    func split(_ separator: Unicode.Scalar) -> [PythonText] {
        scalars.split(separator: separator, omittingEmptySubsequences: false).map { PythonText($0) }
    }

    /// The parts between separators, stripped, without empty ones.
    func items(_ separator: Unicode.Scalar) -> [PythonText] {
        split(separator).map { $0.stripped() }.filter { !$0.isEmpty }
    }

    /// `other in self`.
    func contains(_ other: PythonText) -> Bool { other.isEmpty || !positions(of: other, limit: 1).isEmpty }

    func hasPrefix(_ other: PythonText) -> Bool { scalars.starts(with: other.scalars) }

    /// `str.replace(old, new)`.
    func replacing(_ old: PythonText, with new: PythonText) -> PythonText {
        var result: [Unicode.Scalar] = []
        var start = 0
        for position in positions(of: old) {
            result += scalars[start..<position] + new.scalars
            start = position + old.count
        }
        return start == 0 && result.isEmpty ? self : PythonText(result + scalars[start...])
    }

    /// Where occurrences start that overlap no earlier one.
    private func positions(of other: PythonText, limit: Int = .max) -> [Int] {
        guard let first = other.scalars.first else { return [] }
        var found: [Int] = []
        var position = 0
        while position + other.count <= count, found.count < limit {
            if scalars[position] == first, scalars[position...].starts(with: other.scalars) {
                found.append(position)
                position += other.count
            } else {
                position += 1
            }
        }
        return found
    }
}

extension [PythonText] {
    /// `separator.join(self)`.
    func joined(_ separator: String) -> PythonText {
        PythonText(map(\.scalars).joined(separator: Array<Unicode.Scalar>(separator.unicodeScalars)))
    }

    /// The items without those that came before.
    func withoutRepeats() -> [PythonText] {
        var seen: Set<PythonText> = []
        return filter { seen.insert($0).inserted }
    }
}

extension Unicode.Scalar {
    /// `str.isspace()`: white space, and the four separators of ASCII that Unicode does not count as such.
    var isPythonSpace: Bool { properties.isWhitespace || (0x1C...0x1F).contains(value) }
}
