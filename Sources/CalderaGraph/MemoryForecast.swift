/// Device bytes that a plan will take on a backend, known before any of it is allocated.
public struct MemoryForecast: Sendable, Equatable {
    /// Packed weights that stay in memory, with the vectors and constants that always do.
    public var weights: Int
    /// The regions through which the other weights stream; 0 when all stay.
    public var streaming: Int
    /// Packed bytes of the weights that are read and packed again each time that they are used.
    public var streamedWeights: Int
    public var arena: Int
    public var persistent: Int
    /// What layers use while they run.
    public var working: Int
    /// What loading the weights takes beside all that, beyond what `working` can lend it.
    public var staging: Int
    /// What a pipeline keeps in memory that the backend counts, beside executables: values that wait for the next one.
    public var waiting: Int

    public init(
        weights: Int, streaming: Int, streamedWeights: Int, arena: Int, persistent: Int, working: Int, staging: Int,
        waiting: Int = 0
    ) {
        self.weights = weights
        self.streaming = streaming
        self.streamedWeights = streamedWeights
        self.arena = arena
        self.persistent = persistent
        self.working = working
        self.staging = staging
        self.waiting = waiting
    }

    /// The peak: what `Backend.peakMemory` grows by while the plan is compiled and run.
    public var total: Int { weights + streaming + arena + persistent + working + staging + waiting }

    /// Throws when even the least that works is above the budget.
    package func check(budget: Int?, on backend: String) throws {
        guard let budget, total > budget else { return }
        let streaming = streamedWeights > 0 ? ", with weights streamed" : ""
        throw CalderaError(
            "it needs \(MemoryForecast.mebibytes(total)) MiB at least\(streaming), and \(backend) may use "
                + "\(max(0, budget) >> 20) MiB: allow more memory, or choose a smaller picture or count.")
    }

    /// Rounded up, so that the number suffices as a limit.
    private static func mebibytes(_ bytes: Int) -> Int { (bytes + (1 << 20) - 1) >> 20 }
}

/// Which weights stay in memory under a budget.
package struct Residency {
    /// A packed weight that may stay or stream.
    package struct Candidate {
        package let size: Int
        /// The latest stage that reads it: weights of the step stage are worth most.
        package let stage: Stage

        package init(size: Int, stage: Stage) {
            self.size = size
            self.stage = stage
        }
    }

    /// By the candidates' order.
    package let isResident: [Bool]
    /// Bytes of the largest streamed weight; 0 when there is none.
    package let largestStreamed: Int

    /// - Parameters:
    ///   - budget: bytes for resident weights and for the regions through which the others stream; nil for no bound.
    ///   - regions: how many regions there are, each as large as the largest weight that streams.
    ///
    /// The largest weights stay as far as the regions would not fit otherwise; of the others, those of the step stage go
    /// before those that are read once for a prompt, large ones before small ones. Where nothing fits, the choice is the
    /// one that takes the least.
    package init(_ candidates: [Candidate], budget: Int?, regions: Int) {
        let sum = candidates.reduce(0) { $0 + $1.size }
        guard let budget, sum > budget else {
            isResident = candidates.map { _ in true }
            largestStreamed = 0
            return
        }
        let bySize = candidates.indices.sorted { candidates[$0].size > candidates[$1].size }
        let kept = Residency.needed(bySize.map { candidates[$0].size }, budget: budget, regions: regions)
        var stays = candidates.map { _ in false }
        for index in bySize.prefix(kept) { stays[index] = true }
        let order = candidates.indices.sorted { Residency.isBefore(candidates[$0], candidates[$1]) }
        func largest() -> Int { candidates.indices.filter { !stays[$0] }.map { candidates[$0].size }.max() ?? 0 }
        var isFull = false
        // Again while some go: the regions may have become smaller.
        while !isFull {
            let used = candidates.indices.reduce(0) { $0 + (stays[$1] ? candidates[$1].size : 0) }
            var left = budget - used - regions * largest()
            isFull = true
            for index in order where !stays[index] && candidates[index].size <= left {
                stays[index] = true
                left -= candidates[index].size
                isFull = false
            }
        }
        isResident = stays
        largestStreamed = largest()
    }

    /// How many of the largest weights must stay for the rest to stream within the budget; where it is too small for any
    /// number, the one that takes the least. `sizes` fall.
    private static func needed(_ sizes: [Int], budget: Int, regions: Int) -> Int {
        var (best, least, kept) = (0, Int.max, 0)
        for (count, size) in (sizes + [0]).enumerated() {
            let total = kept + regions * size
            if total <= budget { return count }
            if total < least { (best, least) = (count, total) }
            kept += size
        }
        return best
    }

    private static func isBefore(_ left: Candidate, _ right: Candidate) -> Bool {
        let (first, second) = (left.stage == .step, right.stage == .step)
        return first == second ? left.size > right.size : first
    }
}
