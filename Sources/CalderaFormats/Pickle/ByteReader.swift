/// Reads little-endian numbers and runs of bytes in order; nil where the bytes end too early.
struct ByteReader {
    let bytes: UnsafeRawBufferPointer
    private(set) var position = 0

    init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    var remaining: Int { bytes.count - position }

    mutating func integer<Number: FixedWidthInteger>(_ type: Number.Type) -> Number? {
        guard let value = bytes.littleEndian(type, at: position) else { return nil }
        position += MemoryLayout<Number>.size
        return value
    }

    /// The next `count` bytes, in place.
    mutating func run(_ count: Int) -> UnsafeRawBufferPointer? {
        guard count >= 0, count <= remaining else { return nil }
        defer { position += count }
        return UnsafeRawBufferPointer(rebasing: bytes[position..<(position + count)])
    }

    /// The bytes before the next newline, which is skipped; nil when there is none within `longest` bytes.
    mutating func line(longest: Int) -> UnsafeRawBufferPointer? {
        let window = bytes[position..<(position + min(remaining, longest + 1))]
        guard let end = window.firstIndex(of: UInt8(ascii: "\n")) else { return nil }
        defer { position = end + 1 }
        return UnsafeRawBufferPointer(rebasing: bytes[position..<end])
    }
}

extension UnsafeRawBufferPointer {
    /// The little-endian number at an offset, or nil when it does not lie inside the bytes.
    func littleEndian<Number: FixedWidthInteger>(_ type: Number.Type, at offset: Int) -> Number? {
        guard offset >= 0, offset <= count, MemoryLayout<Number>.size <= count - offset else { return nil }
        return Number(littleEndian: loadUnaligned(fromByteOffset: offset, as: type))
    }
}
