/// The character classes of Python's `re` module, in which the web UI's grammar is written.
extension Unicode.Scalar {
    /// `\s`: white space, and the four separators of ASCII that Unicode does not count as such.
    var isPatternSpace: Bool { properties.isWhitespace || (0x1C...0x1F).contains(value) }

    /// `\w`: letters, numbers and the underscore.
    var isPatternWord: Bool {
        switch properties.generalCategory {
        case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter, .decimalNumber,
            .letterNumber, .otherNumber:
            true
        default: self == "_"
        }
    }

    /// `\d`: the value of a decimal digit of any script.
    var patternDigit: Int? {
        guard properties.generalCategory == .decimalNumber else { return nil }
        return properties.numericValue.flatMap { Int(exactly: $0) }
    }
}

extension ArraySlice<Unicode.Scalar> {
    /// The positions of `word` where `\b` stands on both of its sides.
    func wholeWords(_ word: [Unicode.Scalar]) -> [Int] {
        indices.filter { position in
            guard self[position...].starts(with: word) else { return false }
            let end = position + word.count
            let startsInside = position > startIndex && self[position - 1].isPatternWord
            return !startsInside && !(end < endIndex && self[end].isPatternWord)
        }
    }

    var text: String {
        var text = String.UnicodeScalarView()
        text.append(contentsOf: self)
        return String(text)
    }

    func trimmedStart() -> Self { drop { $0.isPatternSpace } }

    func trimmedEnd() -> Self {
        var end = endIndex
        while end > startIndex, self[end - 1].isPatternSpace { end -= 1 }
        return self[startIndex..<end]
    }

    /// The number that all of the slice writes: an optional sign, then digits of any script and points.
    /// Nil where other characters stand; not finite where the characters are right and yet write no number.
    var patternNumber: Double? {
        var digits = ""
        var rest = self
        if let sign = rest.first, sign == "+" || sign == "-" {
            digits.unicodeScalars.append(sign)
            rest = rest.dropFirst()
        }
        if rest.isEmpty { return nil }
        for scalar in rest {
            if scalar == "." {
                digits += "."
            } else if let digit = scalar.patternDigit {
                digits += String(digit)
            } else {
                return nil
            }
        }
        return Double(digits) ?? .nan
    }
}
