/// A piece of memory that is needed from one node to another, inclusive.
package struct Interval: Sendable {
    package let value: Int
    package let size: Int
    package let first: Int
    package let last: Int

    package init(value: Int, size: Int, first: Int, last: Int) {
        self.value = value
        self.size = size
        self.first = first
        self.last = last
    }
}

/// Places intervals in one arena so that no two that are alive together share a byte.
///
/// Largest first, each at the lowest offset that is free for its whole life: the "greedy by size" strategy of
/// Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net Inference" (2020), section 5.2.
package struct Arena {
    package private(set) var size = 0
    package private(set) var offsets: [Int: Int] = [:]
    private var placed: [(interval: Interval, offset: Int)] = []
    private let limits: PlanLimits

    package init(_ intervals: [Interval], limits: PlanLimits) {
        self.limits = limits
        for interval in intervals.sorted(by: { ($0.size, $1.value) > ($1.size, $0.value) }) { place(interval) }
    }

    private mutating func place(_ interval: Interval) {
        let conflicts =
            placed
            .filter { $0.interval.first <= interval.last && interval.first <= $0.interval.last }
            .sorted { $0.offset < $1.offset }
        var offset = 0
        for conflict in conflicts {
            offset = limits.fitted(offset, size: interval.size)
            if offset + interval.size <= conflict.offset { break }
            offset = max(offset, conflict.offset + conflict.interval.size)
        }
        offset = limits.fitted(offset, size: interval.size)
        placed.append((interval, offset))
        offsets[interval.value] = offset
        size = max(size, offset + interval.size)
    }

    /// The most bytes that are alive at any one node: no arena can be smaller.
    package static func largestLiveSet(_ intervals: [Interval]) -> Int {
        var changes: [Int: Int] = [:]
        for interval in intervals {
            changes[interval.first, default: 0] += interval.size
            changes[interval.last + 1, default: 0] -= interval.size
        }
        var live = 0
        var largest = 0
        for position in changes.keys.sorted() {
            live += changes[position] ?? 0
            largest = max(largest, live)
        }
        return largest
    }
}

/// What a backend asks of memory: how values are aligned, and how large one allocation may be.
public struct PlanLimits: Sendable, Hashable {
    /// Bytes; every value starts on a multiple of this.
    public let alignment: Int
    /// Bytes, a multiple of the alignment; a region longer than this is made of several allocations, and no value
    /// straddles two of them.
    public let blockSize: Int

    public init(alignment: Int = 256, blockSize: Int = .max) {
        self.alignment = alignment
        self.blockSize = blockSize == .max ? .max : blockSize / alignment * alignment
    }

    /// The lowest allowed offset at or behind `offset` for a value of `size` bytes.
    func fitted(_ offset: Int, size: Int) -> Int {
        let aligned = roundedUp(offset)
        guard blockSize < .max, size > 0 else { return aligned }
        let straddles = aligned / blockSize != (aligned + size - 1) / blockSize
        return straddles ? (aligned / blockSize + 1) * blockSize : aligned
    }

    func roundedUp(_ size: Int) -> Int { (size + alignment - 1) / alignment * alignment }
}
