import CalderaGraph

/// Byte pair encoding as CLIP uses it: a word's UTF-8 bytes are its first symbols, the last of them marked as the end
/// of the word, and the adjacent pair that stands earliest in the list of merges is joined until none is left.
struct BytePairEncoder: Sendable {
    /// How the end of a word is written in the vocabulary.
    static let wordEnd = "</w>"

    /// The ids of each byte inside a word and at its end.
    private let inner: [Int32]
    private let last: [Int32]
    /// A pair of ids -> its rank in the upper half, the id of what it becomes in the lower.
    private let merges: [UInt64: UInt64]

    /// - Parameters:
    ///   - merges: the text of merges.txt: one pair of symbols a line, the earliest first; lines that start with
    ///     "#version" are skipped.
    ///   - unknown: the id of a byte that the vocabulary lacks.
    /// Throws `CalderaError` when a line is no pair, or names a symbol that the vocabulary lacks.
    init(vocabulary: [String: Int32], merges text: String, unknown: Int32, path: String) throws {
        let letters = Self.byteLetters
        inner = letters.map { vocabulary[$0] ?? unknown }
        last = letters.map { vocabulary[$0 + Self.wordEnd] ?? unknown }
        merges = try Self.parse(text, vocabulary, path)
    }

    /// The ids of one word.
    func encode(_ word: [UInt8], into ids: inout [Int32]) {
        guard let end = word.last else { return }
        if word.count == 1 { return ids.append(last[Int(end)]) }
        var symbols = word.map { inner[Int($0)] }
        symbols[symbols.count - 1] = last[Int(end)]
        var chain = SymbolChain(symbols)
        chain.join(merges)
        chain.append(to: &ids)
    }

    static func key(_ left: Int32, _ right: Int32) -> UInt64 {
        UInt64(UInt32(bitPattern: left)) << 32 | UInt64(UInt32(bitPattern: right))
    }

    private static func parse(_ text: String, _ vocabulary: [String: Int32], _ path: String) throws -> [UInt64: UInt64]
    {
        var merges: [UInt64: UInt64] = [:]
        merges.reserveCapacity(vocabulary.count)
        var rank: UInt64 = 0
        for (number, line) in text.utf8.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
            .enumerated()
        {
            let line = line.last == UInt8(ascii: "\r") ? line.dropLast() : line
            if line.isEmpty || line.starts(with: "#version".utf8) { continue }
            let parts = line.split(separator: UInt8(ascii: " "), omittingEmptySubsequences: false)
            guard parts.count == 2, !parts[0].isEmpty, !parts[1].isEmpty else {
                throw CalderaError("\(path), line \(number + 1): \"\(Substring(line))\" is not a pair of symbols.")
            }
            let (left, right) = (String(Substring(parts[0])), String(Substring(parts[1])))
            guard let leftID = vocabulary[left], let rightID = vocabulary[right], let joined = vocabulary[left + right]
            else {
                throw CalderaError(
                    "\(path), line \(number + 1): the vocabulary lacks \(left), \(right) or \(left + right): "
                        + "the two files do not belong together.")
            }
            // A pair that is listed twice has the rank of its last line, as in the reference.
            merges[key(leftID, rightID)] = rank << 32 | UInt64(UInt32(bitPattern: joined))
            rank += 1
        }
        return merges
    }

    /// The printable letter that stands for each byte in GPT-2's vocabularies: itself where it is printable, and
    /// otherwise the next free one from U+0100 on.
    static let byteLetters: [String] = {
        var next: UInt32 = 0x100
        return (0..<256).map { (byte: UInt32) in
            switch byte {
            case 33...126, 161...172, 174...255: return letter(byte)
            default:
                defer { next += 1 }
                return letter(next)
            }
        }
    }()

    private static func letter(_ value: UInt32) -> String { Unicode.Scalar(value).map { String($0) } ?? "" }
}

/// The symbols of one word while they are joined: a linked list, and a heap of the pairs that can be joined, so that a
/// word of n bytes takes n log n steps.
struct SymbolChain {
    private var symbols: [Int32]
    private var next: [Int]
    private var previous: [Int]
    private var heap = MinHeap()

    init(_ symbols: [Int32]) {
        self.symbols = symbols
        next = Array(1...symbols.count)
        previous = Array(-1..<(symbols.count - 1))
    }

    mutating func join(_ merges: [UInt64: UInt64]) {
        for position in symbols.indices.dropLast() { offer(position, merges) }
        while let item = heap.popLeast() {
            let position = Int(item & 0xFFFF_FFFF)
            // The pair may have changed since it was offered: then this item is out of date.
            guard let merge = merge(at: position, merges), merge >> 32 == item >> 32 else { continue }
            let removed = next[position]
            symbols[position] = Int32(truncatingIfNeeded: merge)
            symbols[removed] = Self.removed
            next[position] = next[removed]
            if next[position] < symbols.count { previous[next[position]] = position }
            if previous[position] >= 0 { offer(previous[position], merges) }
            offer(position, merges)
        }
    }

    func append(to ids: inout [Int32]) {
        var position = 0
        while position < symbols.count {
            ids.append(symbols[position])
            position = next[position]
        }
    }

    private static let removed: Int32 = -1

    private mutating func offer(_ position: Int, _ merges: [UInt64: UInt64]) {
        guard let merge = merge(at: position, merges) else { return }
        heap.insert((merge >> 32) << 32 | UInt64(position))
    }

    private func merge(at position: Int, _ merges: [UInt64: UInt64]) -> UInt64? {
        guard symbols[position] != Self.removed, next[position] < symbols.count else { return nil }
        return merges[BytePairEncoder.key(symbols[position], symbols[next[position]])]
    }
}

/// A binary heap: rank in the upper half of each item and position in the lower, so that of equal pairs the leftmost
/// comes first.
private struct MinHeap {
    private var items: [UInt64] = []

    mutating func insert(_ item: UInt64) {
        items.append(item)
        var child = items.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            if items[parent] <= items[child] { return }
            items.swapAt(parent, child)
            child = parent
        }
    }

    mutating func popLeast() -> UInt64? {
        guard let least = items.first, let last = items.popLast() else { return nil }
        if items.isEmpty { return least }
        items[0] = last
        var parent = 0
        while true {
            var child = 2 * parent + 1
            guard child < items.count else { return least }
            if child + 1 < items.count, items[child + 1] < items[child] { child += 1 }
            if items[parent] <= items[child] { return least }
            items.swapAt(parent, child)
            parent = child
        }
    }
}
