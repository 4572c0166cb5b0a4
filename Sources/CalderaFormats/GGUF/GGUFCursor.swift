import CalderaGraph

/// Reads a GGUF header from front to back. Nothing is believed before it is known to lie inside the file, so that no
/// length that a file claims is ever allocated.
struct GGUFCursor {
    let path: String
    private let bytes: UnsafeRawBufferPointer
    private(set) var offset = 0

    init(_ bytes: UnsafeRawBufferPointer, path: String) {
        self.bytes = bytes
        self.path = path
    }

    var remaining: Int { bytes.count - offset }

    mutating func integer<Number: FixedWidthInteger>(_: Number.Type = Number.self) throws -> Number {
        let size = MemoryLayout<Number>.size
        guard remaining >= size else { throw cutShort() }
        defer { offset += size }
        return Number(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: Number.self))
    }

    /// A count or a length of 64 bits, of things that take at least `size` bytes each.
    mutating func count(of size: Int) throws -> Int {
        let number: UInt64 = try integer()
        guard let count = Int(exactly: number), count <= remaining / max(1, size) else { throw cutShort() }
        return count
    }

    mutating func string() throws -> String {
        let count = try count(of: 1)
        defer { offset += count }
        return String(decoding: bytes[offset..<offset + count], as: UTF8.self)
    }

    func cutShort() -> CalderaError {
        CalderaError("\(path) is cut short or damaged (at byte \(offset) of \(bytes.count)): download it again.")
    }
}
