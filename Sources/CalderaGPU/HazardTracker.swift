/// Says where a recording needs a barrier: only before work that touches what earlier work, since the last barrier,
/// has written, or that writes what earlier work reads.
///
/// Memory is named by ranges of device addresses.
package struct HazardTracker {
    private var reads: [Range<UInt64>] = []
    private var writes: [Range<UInt64>] = []

    package init() {}

    /// Notes work that reads and writes these ranges. True when a barrier has to stand before it; the tracker then
    /// takes it that the barrier is there, and that nothing before it matters any more.
    package mutating func needsBarrier(reads newReads: [Range<UInt64>], writes newWrites: [Range<UInt64>]) -> Bool {
        let conflicts =
            HazardTracker.meet(newReads, writes) || HazardTracker.meet(newWrites, writes)
            || HazardTracker.meet(newWrites, reads)
        if conflicts { reset() }
        reads += newReads
        writes += newWrites
        return conflicts
    }

    /// Forgets everything, as after a barrier.
    package mutating func reset() {
        reads.removeAll()
        writes.removeAll()
    }

    private static func meet(_ left: [Range<UInt64>], _ right: [Range<UInt64>]) -> Bool {
        left.contains { range in right.contains { $0.overlaps(range) } }
    }
}
