import CalderaGraph

/// Host memory for the values of a network that wait between its stretches, up to a share; what is beyond waits in files.
///
/// Only memory that the backend counts is bounded: a GPU's limit says nothing of the host's.
final class WaitingRoom {
    /// Bytes of values that may be in memory; nil for no bound.
    private let capacity: Int?
    private let count: (Int) -> Void
    private var held = 0
    /// Bytes that were given a place in a file instead.
    private(set) var spilled = 0

    /// - Parameter count: is told of bytes that are taken, or, negative, given back.
    init(capacity: Int?, count: @escaping (Int) -> Void) {
        self.capacity = capacity
        self.count = count
    }

    deinit { count(-held) }

    /// Whether there was a place for so many bytes, which then are counted.
    fileprivate func take(_ bytes: Int) -> Bool {
        if let capacity, held + bytes > capacity {
            spilled += bytes
            return false
        }
        held += bytes
        count(bytes)
        return true
    }

    fileprivate func give(_ bytes: Int) {
        held -= bytes
        count(-bytes)
    }

    /// Counts what `body` holds for a moment on its way to or from a device; it has a share of its own.
    func passing<Result>(_ bytes: Int, _ body: () throws -> Result) rethrows -> Result {
        count(bytes)
        defer { count(-bytes) }
        return try body()
    }
}

/// A value that waits: one entry for the whole plane, or one for each tile. Elements keep the type in which the device
/// computes, which loses nothing: whatever takes them takes them in that type.
final class WaitingValue {
    /// Of an entry.
    let shape: Shape
    let dtype: DType
    private let room: WaitingRoom
    private var entries: [Entry]
    /// Entry i lies at i times its size.
    private var file: SpillFile?

    private enum Entry {
        case none
        /// A place without elements, in a rehearsal.
        case reserved
        case floats([Float])
        case packed([UInt16])
        case spilled
    }

    init(_ shape: Shape, _ dtype: DType, entries: Int, room: WaitingRoom) {
        self.shape = shape
        self.dtype = dtype
        self.room = room
        self.entries = Array(repeating: .none, count: entries)
    }

    deinit { for index in entries.indices { release(index) } }

    var count: Int { entries.count }
    private var entrySize: Int { shape.count * dtype.size }

    /// Bytes that `floats` takes beside what waits: none where the elements themselves are handed out.
    func copySize(_ index: Int) -> Int {
        if case .spilled = entries[index] { return 4 * shape.count }
        return dtype == .float32 ? 0 : 4 * shape.count
    }

    /// Gives an entry its elements, and a place in memory where there is one; nil in a rehearsal, for the place alone.
    /// Throws `CalderaError` when it would lie in a file that cannot be written.
    func put(_ floats: [Float]?, at index: Int) throws {
        release(index)
        let isInMemory = room.take(entrySize)
        guard let floats else {
            entries[index] = isInMemory ? .reserved : .spilled
            return
        }
        if dtype == .float32 {
            entries[index] = isInMemory ? .floats(floats) : try spill(floats, at: index)
        } else {
            let packed = packed(floats)
            entries[index] = isInMemory ? .packed(packed) : try spill(packed, at: index)
        }
    }

    /// An entry's elements; empty in a rehearsal. Throws `CalderaError` when they lie in a file that cannot be read.
    func floats(at index: Int) throws -> [Float] {
        switch entries[index] {
        case .none, .reserved: return []
        case .floats(let floats): return floats
        case .packed(let packed): return widened(packed)
        case .spilled:
            guard let file else { return [] }
            if dtype == .float32 { return try read(file, index, zero: Float(0)) }
            return widened(try read(file, index, zero: UInt16(0)))
        }
    }

    /// Gives an entry's memory back.
    func release(_ index: Int) {
        switch entries[index] {
        case .none, .spilled: break
        case .reserved, .floats, .packed: room.give(entrySize)
        }
        entries[index] = .none
    }

    // MARK: Elements

    private func packed(_ floats: [Float]) -> [UInt16] {
        [UInt16](unsafeUninitializedCapacity: floats.count) { buffer, filled in
            floats.withUnsafeBytes { convert($0.baseAddress, .float32, to: buffer.baseAddress, dtype, floats.count) }
            filled = floats.count
        }
    }

    private func widened(_ packed: [UInt16]) -> [Float] {
        [Float](unsafeUninitializedCapacity: packed.count) { buffer, filled in
            packed.withUnsafeBytes { convert($0.baseAddress, dtype, to: buffer.baseAddress, .float32, packed.count) }
            filled = packed.count
        }
    }

    private func convert(
        _ source: UnsafeRawPointer?, _ from: DType, to target: UnsafeMutableRawPointer?, _ wanted: DType, _ count: Int
    ) {
        guard let source, let target else { return }
        ElementConversion.convert(source, from, to: target, wanted, count: count)
    }

    // MARK: Files

    private func spill<Element>(_ elements: [Element], at index: Int) throws -> Entry {
        let file = try self.file ?? SpillFile()
        self.file = file
        try elements.withUnsafeBytes { try file.write($0, at: index * entrySize) }
        return .spilled
    }

    private func read<Element: BitwiseCopyable>(_ file: SpillFile, _ index: Int, zero: Element) throws -> [Element] {
        var elements = [Element](repeating: zero, count: shape.count)
        try elements.withUnsafeMutableBytes { try file.read(into: $0, at: index * entrySize) }
        return elements
    }
}
