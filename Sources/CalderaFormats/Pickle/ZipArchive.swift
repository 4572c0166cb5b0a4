import CalderaGraph

/// The table of contents of a ZIP archive as `torch.save` writes it: every entry stored as it is, so that its bytes can
/// be used in place. Written from PKWARE's APPNOTE 6.3.10.
///
/// Only the central directory is believed. Compressed, encrypted, overlapping, repeated or out-of-range entries are
/// errors, as are archives on several disks: torch writes none of them.
struct ZipArchive: Sendable {
    struct Entry: Sendable {
        /// Where the entry's bytes are in the file.
        let data: Range<Int>
        /// CRC-32 of those bytes, as the directory tells it.
        let checksum: UInt32
        /// Where the entry begins: its local header.
        fileprivate let start: Int
    }

    let entries: [String: Entry]

    /// Reads the directory of a whole file's bytes. Throws `CalderaError` when the file is cut short or no such archive.
    init(_ file: UnsafeRawBufferPointer, path: String) throws {
        let directory = try ZipDirectory(file, path: path)
        var entries: [String: Entry] = [:]
        var position = directory.range.lowerBound
        for _ in 0..<directory.entryCount {
            let record = try CentralRecord(file, at: position, before: directory.range.upperBound, path: path)
            let entry = try record.locate(in: file, before: directory.range.lowerBound, path: path)
            guard entries.updateValue(entry, forKey: record.name) == nil else {
                throw CalderaError("\(path) has two entries \(printable(record.name)): torch.save never writes that.")
            }
            position = record.end
        }
        guard position == directory.range.upperBound else { throw ZipArchive.broken(path, "directory") }
        try Self.checkOverlaps(entries, path)
        self.entries = entries
    }

    private static func checkOverlaps(_ entries: [String: Entry], _ path: String) throws {
        var end = 0
        for (name, entry) in entries.sorted(by: { $0.value.start < $1.value.start }) {
            guard entry.start >= end else {
                throw CalderaError("\(path): the entry \(printable(name)) overlaps another one: download it again.")
            }
            end = entry.data.upperBound
        }
    }

    static func broken(_ path: String, _ part: String) -> CalderaError {
        CalderaError("\(path) is cut short or damaged in its ZIP \(part): download it again.")
    }

    /// CRC-32 as ZIP computes it (polynomial 0xEDB88320, reflected).
    static func checksum(_ bytes: UnsafeRawBufferPointer) -> UInt32 {
        let table = (0..<256).map { (index: UInt32) in
            (0..<8).reduce(index) { value, _ in value & 1 == 1 ? (value >> 1) ^ 0xEDB8_8320 : value >> 1 }
        }
        let state = bytes.reduce(UInt32.max) { state, byte in
            (state >> 8) ^ table[Int(UInt8(truncatingIfNeeded: state) ^ byte)]
        }
        return ~state
    }
}

/// Where the central directory is, from the records at the end of the file.
private struct ZipDirectory {
    private static let endSize = 22
    private static let locatorSize = 20
    private static let largestComment = 65_535

    let range: Range<Int>
    let entryCount: Int

    init(_ file: UnsafeRawBufferPointer, path: String) throws {
        let end = try Self.findEnd(file, path)
        guard let plain = Self.plain(file, end), let found = try Self.wide(file, end, plain, path) else {
            throw ZipArchive.broken(path, "directory")
        }
        let (stop, overflow) = found.start.addingReportingOverflow(found.size)
        guard !overflow, found.start >= 0, found.size >= 0, stop <= end else {
            throw ZipArchive.broken(path, "directory")
        }
        // Each entry takes at least 46 bytes of the directory.
        guard found.count >= 0, found.count <= found.size / CentralRecord.fixedSize else {
            throw ZipArchive.broken(path, "directory")
        }
        range = found.start..<stop
        entryCount = found.count
    }

    private struct Fields {
        var count: Int
        var size: Int
        var start: Int
    }

    /// The end record is the last one whose comment reaches exactly to the end of the file.
    private static func findEnd(_ file: UnsafeRawBufferPointer, _ path: String) throws -> Int {
        let last = file.count - endSize
        for position in stride(from: last, through: max(0, last - largestComment), by: -1) {
            guard file.littleEndian(UInt32.self, at: position) == 0x0605_4B50 else { continue }
            if file.littleEndian(UInt16.self, at: position + 20).map(Int.init) == last - position { return position }
        }
        throw CalderaError("\(path) is cut short (its ZIP directory is missing): download it again.")
    }

    private static func plain(_ file: UnsafeRawBufferPointer, _ end: Int) -> Fields? {
        guard file.littleEndian(UInt32.self, at: end + 4) == 0,
            let here = file.littleEndian(UInt16.self, at: end + 8),
            let count = file.littleEndian(UInt16.self, at: end + 10), here == count,
            let size = file.littleEndian(UInt32.self, at: end + 12),
            let start = file.littleEndian(UInt32.self, at: end + 16)
        else { return nil }
        return Fields(count: Int(count), size: Int(size), start: Int(start))
    }

    /// The 64-bit record where there is one (torch always writes it), otherwise `plain`. The two must agree where the
    /// narrow fields are not full; nil when they do not.
    private static func wide(
        _ file: UnsafeRawBufferPointer, _ end: Int, _ plain: Fields, _ path: String
    ) throws -> Fields? {
        let locator = end - locatorSize
        guard file.littleEndian(UInt32.self, at: locator) == 0x0706_4B50 else { return plain }
        guard let offset = file.littleEndian(UInt64.self, at: locator + 8), let record = Int(exactly: offset),
            record <= locator, file.littleEndian(UInt32.self, at: record) == 0x0606_4B50,
            file.littleEndian(UInt64.self, at: record + 16) == 0,
            let count = file.littleEndian(UInt64.self, at: record + 32).flatMap(Int.init(exactly:)),
            let size = file.littleEndian(UInt64.self, at: record + 40).flatMap(Int.init(exactly:)),
            let start = file.littleEndian(UInt64.self, at: record + 48).flatMap(Int.init(exactly:))
        else { return nil }
        let agrees =
            (plain.count == 0xFFFF || plain.count == count) && (plain.size == 0xFFFF_FFFF || plain.size == size)
            && (plain.start == 0xFFFF_FFFF || plain.start == start)
        return agrees ? Fields(count: count, size: size, start: start) : nil
    }
}

/// One entry of the central directory.
private struct CentralRecord {
    static let fixedSize = 46
    private static let localSize = 30

    let name: String
    /// Where the next record begins.
    let end: Int

    private let checksum: UInt32
    private let size: Int
    private let start: Int

    init(_ file: UnsafeRawBufferPointer, at position: Int, before limit: Int, path: String) throws {
        guard limit - position >= Self.fixedSize, file.littleEndian(UInt32.self, at: position) == 0x0201_4B50,
            let flags = file.littleEndian(UInt16.self, at: position + 8),
            let method = file.littleEndian(UInt16.self, at: position + 10),
            let checksum = file.littleEndian(UInt32.self, at: position + 16),
            let nameCount = file.littleEndian(UInt16.self, at: position + 28).map(Int.init),
            let extraCount = file.littleEndian(UInt16.self, at: position + 30).map(Int.init),
            let commentCount = file.littleEndian(UInt16.self, at: position + 32).map(Int.init)
        else { throw ZipArchive.broken(path, "directory") }
        let nameStart = position + Self.fixedSize
        end = nameStart + nameCount + extraCount + commentCount
        guard end <= limit,
            let name = String(validating: file[nameStart..<(nameStart + nameCount)], as: UTF8.self)
        else { throw ZipArchive.broken(path, "directory") }
        // Bit 0: encrypted; bit 6: strongly; bit 13: the directory itself.
        guard flags & 0b0010_0000_0100_0001 == 0 else {
            throw CalderaError(
                "\(path): the entry \(printable(name)) is encrypted: save the file again with torch.save.")
        }
        guard method == 0 else {
            throw CalderaError(
                "\(path): the entry \(printable(name)) is compressed, which torch.save never does: save it again there."
            )
        }
        let extra = (nameStart + nameCount)..<(nameStart + nameCount + extraCount)
        guard let sizes = Self.sizes(file, position, extra) else { throw ZipArchive.broken(path, "directory") }
        (self.name, self.checksum, size, start) = (name, checksum, sizes.size, sizes.start)
    }

    /// The entry's bytes, which lie behind its local header and in front of the directory.
    func locate(in file: UnsafeRawBufferPointer, before limit: Int, path: String) throws -> ZipArchive.Entry {
        guard start <= limit - Self.localSize, file.littleEndian(UInt32.self, at: start) == 0x0403_4B50,
            let method = file.littleEndian(UInt16.self, at: start + 8), method == 0,
            let nameCount = file.littleEndian(UInt16.self, at: start + 26).map(Int.init),
            let extraCount = file.littleEndian(UInt16.self, at: start + 28).map(Int.init)
        else { throw ZipArchive.broken(path, "entry \(printable(name))") }
        let nameStart = start + Self.localSize
        let dataStart = nameStart + nameCount + extraCount
        guard dataStart <= limit, size <= limit - dataStart,
            file[nameStart..<(nameStart + nameCount)].elementsEqual(name.utf8)
        else { throw ZipArchive.broken(path, "entry \(printable(name))") }
        return ZipArchive.Entry(data: dataStart..<(dataStart + size), checksum: checksum, start: start)
    }

    /// The size and place of the entry; nil when they are impossible. Fields that are full (all ones) continue in the
    /// extra field 1, in this order: size, compressed size, place.
    private static func sizes(
        _ file: UnsafeRawBufferPointer, _ position: Int, _ extra: Range<Int>
    ) -> (size: Int, start: Int)? {
        guard let stored = file.littleEndian(UInt32.self, at: position + 20),
            let plain = file.littleEndian(UInt32.self, at: position + 24),
            let disk = file.littleEndian(UInt16.self, at: position + 34), disk == 0,
            let place = file.littleEndian(UInt32.self, at: position + 42)
        else { return nil }
        var wide = wideField(file, extra)
        func value(_ narrow: UInt32) -> Int? {
            narrow == .max ? wide?.integer(UInt64.self).flatMap(Int.init(exactly:)) : Int(narrow)
        }
        guard let size = value(plain), let storedSize = value(stored), let start = value(place), size == storedSize
        else { return nil }
        return (size, start)
    }

    private static func wideField(_ file: UnsafeRawBufferPointer, _ extra: Range<Int>) -> ByteReader? {
        var reader = ByteReader(UnsafeRawBufferPointer(rebasing: file[extra]))
        while let kind = reader.integer(UInt16.self), let count = reader.integer(UInt16.self),
            let content = reader.run(Int(count))
        {
            if kind == 1 { return ByteReader(content) }
        }
        return nil
    }
}

/// A name from a file that may be hostile, fit for a message: no control characters, not endlessly long.
func printable(_ name: String) -> String {
    let shown = name.unicodeScalars.prefix(120).map { scalar in
        scalar.properties.generalCategory == .control || scalar.properties.generalCategory == .format
            ? "?" : Character(scalar)
    }
    return String(shown) + (name.unicodeScalars.count > 120 ? "…" : "")
}
