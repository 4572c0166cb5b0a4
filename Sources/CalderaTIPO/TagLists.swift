import CalderaGraph
import Foundation

/// The kinds of tags. Lists are asked in this order, and the first that has a tag decides; `general` is the rest.
///
/// tipo-kgen asks its lists in the order in which the file system lists them, which differs between machines; this is
/// the order of its authors' examples.
package enum TagCategory: String, CaseIterable, Sendable {
    case copyrights, meta, artist, characters, special, quality, rating, general
}

/// Which tags belong to which category.
///
/// The short lists (special, quality, rating) are built in. The long ones (copyrights, meta, artist, characters: some
/// 950 thousand names, 15 MB) come with tipo-kgen and are read from a folder on request; without them such tags are
/// general ones.
package struct TagLists: Sendable {
    private var lists: [TagCategory: NameTable]

    /// The built-in lists only.
    package init() {
        lists = [
            .special: NameTable(Self.special), .quality: NameTable(Self.quality), .rating: NameTable(Self.rating),
        ]
    }

    /// The built-in lists and those of a folder: any of `copyrights.txt`, `meta.txt`, `artist.txt` and
    /// `characters.txt`, one tag a line.
    /// Throws a usage error when the folder has none of them, and `CalderaError` when one cannot be read.
    package init(folder: URL) throws {
        self.init()
        var isEmpty = true
        for category in [TagCategory.copyrights, .meta, .artist, .characters] {
            let path = folder.appendingPathComponent("\(category.rawValue).txt").path
            guard FileManager.default.fileExists(atPath: path) else { continue }
            lists[category] = NameTable(text: Array(try ConfigFile.read(path)))
            isEmpty = false
        }
        if isEmpty {
            throw CalderaError.usage(
                "\(folder.path) has no tag lists: it should hold copyrights.txt, meta.txt, artist.txt or "
                    + "characters.txt, as tipo-kgen's folder tag-list does.")
        }
    }

    /// The tags by category, each in its order. Tags are stripped, and empty ones dropped; of a tag that is in a list
    /// only with spaces for its underscores, and of a general one of four letters or more, these become spaces.
    /// Reference: tipo-kgen, `formatter.seperate_tags`.
    package func route(_ tags: [PythonText]) -> [(category: TagCategory, tags: [PythonText])] {
        var routed: [TagCategory: [PythonText]] = [:]
        for tag in tags.map({ $0.stripped() }) where !tag.isEmpty {
            let (category, name) = place(tag)
            routed[category, default: []].append(name)
        }
        return TagCategory.allCases.map { ($0, routed[$0] ?? []) }
    }

    private func place(_ tag: PythonText) -> (TagCategory, PythonText) {
        let spaced = PythonText(tag.scalars.map { $0 == "_" ? " " : $0 })
        for category in TagCategory.allCases {
            guard let list = lists[category] else { continue }
            if list.contains(tag) { return (category, tag) }
            if list.contains(spaced) { return (category, spaced) }
        }
        return (.general, tag.count < 4 ? tag : spaced)
    }

    private static let special: [String] =
        ["girl", "boy", "other"].flatMap { who in
            ["1\(who)"] + (2...5).map { "\($0)\(who)s" } + ["6+\(who)s", "multiple \(who)s"]
        } + ["male focus"]

    private static let quality =
        ["best", "great", "good", "normal", "low", "worse"].map { "\($0) quality" }
        + ["masterpiece", "very aesthetic", "aesthetic", "displeasing", "very displeasing"]
        + ["newest", "recent", "mid", "early", "old", "score_9"] + (4...8).map { "score_\($0)_up" }
        + ["anime", "cartoon", "furry", "pony"].map { "source_\($0)" }

    private static let rating = ["safe", "general", "sfw", "sensitive", "nsfw", "explicit"]
}

/// A set of names that lie one after the other in one text: a hash table of the places of its lines.
private struct NameTable: Sendable {
    private let text: [UInt8]
    /// The places, 0 for none; place n is stored as n + 1. A line is found by linear probing from its hash on.
    private var slots: [UInt32]

    init(_ names: [String]) { self.init(text: Array(names.joined(separator: "\n").utf8)) }

    init(text: [UInt8]) {
        self.text = text
        let lines = text.reduce(1) { $0 + ($1 == UInt8(ascii: "\n") ? 1 : 0) }
        var size = 16
        while size < lines * 2 { size *= 2 }
        slots = Array(repeating: 0, count: size)
        var start = 0
        while start < text.count {
            insert(start)
            start = end(of: start) + 1
        }
    }

    func contains(_ name: PythonText) -> Bool {
        let bytes = Array(name.string.utf8)
        if bytes.isEmpty { return false }
        var slot = hash(bytes)
        while slots[slot] != 0 {
            if line(at: Int(slots[slot]) - 1).elementsEqual(bytes) { return true }
            slot = (slot + 1) % slots.count
        }
        return false
    }

    private mutating func insert(_ start: Int) {
        let line = line(at: start)
        if line.isEmpty { return }
        var slot = hash(line)
        while slots[slot] != 0 { slot = (slot + 1) % slots.count }
        slots[slot] = UInt32(start) + 1
    }

    private func line(at start: Int) -> ArraySlice<UInt8> {
        let line = text[start..<end(of: start)]
        return line.last == UInt8(ascii: "\r") ? line.dropLast() : line
    }

    /// Where the line that starts at `start` ends.
    private func end(of start: Int) -> Int {
        var end = start
        while end < text.count, text[end] != UInt8(ascii: "\n") { end += 1 }
        return end
    }

    /// FNV-1a (64 bits).
    private func hash(_ bytes: some Sequence<UInt8>) -> Int {
        let hash = bytes.reduce(UInt64(0xCBF2_9CE4_8422_2325)) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
        return Int(truncatingIfNeeded: (hash ^ hash >> 32) & UInt64(slots.count - 1))
    }
}
