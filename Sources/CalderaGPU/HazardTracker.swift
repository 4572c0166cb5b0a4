/// Bytes that a kernel reads or writes, by device address.
struct ByteRange: Hashable {
    let start: UInt64
    let count: Int

    var end: UInt64 { start + UInt64(count) }
    func overlaps(_ other: ByteRange) -> Bool { start < other.end && other.start < end }
}

/// Says where a barrier is needed: only between kernels that touch the same bytes, one of them writing.
///
/// Everything between two barriers may run at the same time. A kernel needs a barrier before it when it reads what was
/// written since the last one, or writes what was read or written since.
struct HazardTracker {
    private var reads: [ByteRange] = []
    private var writes: [ByteRange] = []

    /// Takes a kernel into account; true when a barrier must stand before it.
    mutating func needsBarrier(reads newReads: [ByteRange], writes newWrites: [ByteRange]) -> Bool {
        let readsWritten = newReads.contains { read in writes.contains { $0.overlaps(read) } }
        let writesTouched = newWrites.contains { write in
            writes.contains { $0.overlaps(write) } || reads.contains { $0.overlaps(write) }
        }
        let needed = readsWritten || writesTouched
        if needed {
            reads = []
            writes = []
        }
        reads += newReads
        writes += newWrites
        return needed
    }
}
