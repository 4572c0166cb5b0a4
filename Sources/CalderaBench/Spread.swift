/// How a few measurements of one thing lie.
package struct Spread: Codable, Sendable, Equatable {
    package let median: Double
    package let min: Double
    package let max: Double
    package let count: Int

    /// Nil where nothing was measured.
    package init?(_ values: [Double]) {
        guard let least = values.min(), let most = values.max() else { return nil }
        let sorted = values.sorted()
        let middle = sorted.count / 2
        median = sorted.count.isMultiple(of: 2) ? (sorted[middle - 1] + sorted[middle]) / 2 : sorted[middle]
        min = least
        max = most
        count = values.count
    }
}

/// The seconds that work takes by the host's clock, and what it gives.
func timed<Result>(_ work: () throws -> Result) rethrows -> (seconds: Double, result: Result) {
    let start = ContinuousClock.now
    let result = try work()
    return ((ContinuousClock.now - start) / .seconds(1), result)
}
