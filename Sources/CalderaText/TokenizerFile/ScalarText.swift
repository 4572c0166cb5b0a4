/// Text as a list of its scalars: what a tokenizer's steps cut, search and compare. Swift's strings compare by
/// canonical equivalence and count grapheme clusters, and neither is what the reference does.
typealias ScalarText = [Unicode.Scalar]

extension [Unicode.Scalar] {
    init(_ string: String) { self = Array(string.unicodeScalars) }

    /// The start of every occurrence that overlaps no earlier one.
    func occurrences(of pattern: [Unicode.Scalar]) -> [Int] {
        guard let first = pattern.first else { return [] }
        var found: [Int] = []
        var position = 0
        while position + pattern.count <= count {
            if self[position] == first, self[position...].starts(with: pattern) {
                found.append(position)
                position += pattern.count
            } else {
                position += 1
            }
        }
        return found
    }

    func replacing(_ matches: [Range<Int>], with content: [Unicode.Scalar]) -> [Unicode.Scalar] {
        if matches.isEmpty { return self }
        var result: [Unicode.Scalar] = []
        var position = 0
        for match in matches {
            result.append(contentsOf: self[position..<match.lowerBound])
            result.append(contentsOf: content)
            position = match.upperBound
        }
        result.append(contentsOf: self[position...])
        return result
    }
}

extension Collection<Unicode.Scalar> {
    var utf8Bytes: [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count)
        for scalar in self { bytes.append(contentsOf: UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter) }
        return bytes
    }
}
