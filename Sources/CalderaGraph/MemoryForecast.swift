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

    public init(
        weights: Int, streaming: Int, streamedWeights: Int, arena: Int, persistent: Int, working: Int, staging: Int
    ) {
        self.weights = weights
        self.streaming = streaming
        self.streamedWeights = streamedWeights
        self.arena = arena
        self.persistent = persistent
        self.working = working
        self.staging = staging
    }

    /// The peak: what `Backend.peakMemory` grows by while the plan is compiled and run.
    public var total: Int { weights + streaming + arena + persistent + working + staging }

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
    /// Weights of the step stage go before those that are read once for a prompt, large ones before small ones, which
    /// keeps the regions small. With a budget below `regions` times the largest weight all of them stream.
    package init(_ candidates: [Candidate], budget: Int?, regions: Int) {
        let sum = candidates.reduce(0) { $0 + $1.size }
        guard let budget, sum > budget else {
            isResident = candidates.map { _ in true }
            largestStreamed = 0
            return
        }
        let order = candidates.indices.sorted { Residency.isBefore(candidates[$0], candidates[$1]) }
        var stays = candidates.map { _ in false }
        var used = 0
        // The largest candidate among those that are still to be looked at, or that were left out.
        let largestFrom = Residency.largestSuffixes(order.map { candidates[$0].size })
        var largestLeft = 0
        for (position, index) in order.enumerated() {
            let size = candidates[index].size
            let region = max(largestLeft, largestFrom[position + 1])
            if used + size + regions * region <= budget {
                stays[index] = true
                used += size
            } else {
                largestLeft = max(largestLeft, size)
            }
        }
        isResident = stays
        largestStreamed = largestLeft
    }

    private static func isBefore(_ left: Candidate, _ right: Candidate) -> Bool {
        let (first, second) = (left.stage == .step, right.stage == .step)
        return first == second ? left.size > right.size : first
    }

    /// Entry i is the largest of `sizes[i...]`; the last is 0.
    private static func largestSuffixes(_ sizes: [Int]) -> [Int] {
        var result = [Int](repeating: 0, count: sizes.count + 1)
        for index in sizes.indices.reversed() { result[index] = max(result[index + 1], sizes[index]) }
        return result
    }
}
