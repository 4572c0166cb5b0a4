import CalderaGraph
import Foundation

/// A vocabulary and the ranked merges that build its entries: the two files of a byte-pair tokenizer.
struct BytePairMerges: Sendable {
    let vocabulary: [String: Int32]
    /// The rank of each pair of symbol ids; the lower is merged first.
    private let ranks: [Pair: (rank: Int32, merged: Int32)]

    private struct Pair: Hashable {
        let left: Int32
        let right: Int32
    }

    /// - Parameters:
    ///   - vocabulary: `vocab.json`, an object of ids by symbol.
    ///   - merges: `merges.txt`, a version line, then one pair a line.
    /// Throws `CalderaError` when a file is missing or not of that form.
    init(vocabulary vocabularyPath: String, merges mergesPath: String) throws {
        vocabulary = try BytePairMerges.readVocabulary(vocabularyPath)
        ranks = try BytePairMerges.readMerges(mergesPath, vocabulary)
    }

    private static func readVocabulary(_ path: String) throws -> [String: Int32] {
        let object = try? JSONSerialization.jsonObject(with: ConfigFile.read(path))
        guard let entries = object as? [String: Int] else {
            throw CalderaError("\(path) is not a vocabulary, an object of token ids: download it again.")
        }
        guard let largest = entries.values.max(), let smallest = entries.values.min(), smallest >= 0, largest < 1 << 24
        else { throw CalderaError("\(path) has no tokens, or ids out of range: download it again.") }
        return entries.mapValues { Int32($0) }
    }

    private static func readMerges(
        _ path: String, _ vocabulary: [String: Int32]
    ) throws -> [Pair: (rank: Int32, merged: Int32)] {
        guard let text = String(bytes: try ConfigFile.read(path), encoding: .utf8) else {
            throw CalderaError("\(path) is not UTF-8 text: download it again.")
        }
        var ranks: [Pair: (rank: Int32, merged: Int32)] = [:]
        ranks.reserveCapacity(vocabulary.count)
        for (index, line) in text.utf8.split(separator: UInt8(ascii: "\n")).enumerated() {
            if line.first == UInt8(ascii: "#"), index == 0 { continue }
            let parts = line.split(separator: UInt8(ascii: " ")).map { String(decoding: $0, as: UTF8.self) }
            if parts.isEmpty { continue }
            guard parts.count == 2, let left = vocabulary[parts[0]], let right = vocabulary[parts[1]],
                let merged = vocabulary[parts[0] + parts[1]]
            else {
                throw CalderaError(
                    "\(path): line \(index + 1) is no pair of the vocabulary's symbols: download it again.")
            }
            let pair = Pair(left: left, right: right)
            if ranks[pair] == nil { ranks[pair] = (Int32(ranks.count), merged) }
        }
        return ranks
    }

    /// Merges neighbours, the lowest rank first and of equal ranks the leftmost, until none can be merged; Sennrich,
    /// Haddow and Birch, "Neural Machine Translation of Rare Words with Subword Units" (2016), algorithm 1.
    ///
    /// A heap of candidate merges over a linked list: n log n, so that a word of any length is no burden.
    func merge(_ symbols: [Int32]) -> [Int32] {
        var word = LinkedSymbols(symbols)
        var heap = MergeHeap()
        func push(_ left: Int, _ right: Int) {
            guard right < symbols.count, left >= 0,
                let found = ranks[Pair(left: word.ids[left], right: word.ids[right])]
            else { return }
            heap.push(
                MergeHeap.Candidate(
                    rank: found.rank, position: Int32(left), left: word.ids[left], right: word.ids[right],
                    merged: found.merged))
        }
        for index in symbols.indices.dropLast() { push(index, index + 1) }
        while let candidate = heap.pop() {
            let left = Int(candidate.position)
            guard word.ids[left] == candidate.left, let right = word.next(left), word.ids[right] == candidate.right
            else {
                continue
            }
            word.join(left, right, as: candidate.merged)
            if let before = word.previous(left) { push(before, left) }
            if let after = word.next(left) { push(left, after) }
        }
        return word.symbols
    }
}

/// Symbols of a word under merging; a symbol that has gone into its left neighbour is marked with -1.
private struct LinkedSymbols {
    private(set) var ids: [Int32]
    private var following: [Int]
    private var preceding: [Int]

    init(_ symbols: [Int32]) {
        ids = symbols
        following = symbols.indices.map { $0 + 1 }
        preceding = symbols.indices.map { $0 - 1 }
    }

    func next(_ index: Int) -> Int? { following[index] < ids.count ? following[index] : nil }
    func previous(_ index: Int) -> Int? { preceding[index] >= 0 ? preceding[index] : nil }

    mutating func join(_ left: Int, _ right: Int, as merged: Int32) {
        ids[left] = merged
        ids[right] = -1
        following[left] = following[right]
        if following[right] < ids.count { preceding[following[right]] = left }
    }

    var symbols: [Int32] { ids.filter { $0 >= 0 } }
}

/// A binary heap of possible merges, the lowest rank on top, the leftmost of equal ranks.
private struct MergeHeap {
    struct Candidate {
        let rank: Int32
        let position: Int32
        let left: Int32
        let right: Int32
        let merged: Int32

        static func < (one: Candidate, other: Candidate) -> Bool {
            (one.rank, one.position) < (other.rank, other.position)
        }
    }

    private var items: [Candidate] = []

    mutating func push(_ candidate: Candidate) {
        items.append(candidate)
        var child = items.count - 1
        while child > 0, items[child] < items[(child - 1) / 2] {
            items.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
    }

    mutating func pop() -> Candidate? {
        guard let top = items.first, let last = items.popLast() else { return nil }
        if items.isEmpty { return top }
        items[0] = last
        var parent = 0
        while true {
            var smallest = parent
            for child in [2 * parent + 1, 2 * parent + 2] where child < items.count && items[child] < items[smallest] {
                smallest = child
            }
            if smallest == parent { return top }
            items.swapAt(parent, smallest)
            parent = smallest
        }
    }
}
