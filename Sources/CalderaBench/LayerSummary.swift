import CalderaGraph

/// All runs of one layer's operation together.
package struct LayerSummary: Sendable, Equatable {
    package let part: String
    package let label: String
    package let operation: String
    package let runs: Int
    package let seconds: Double
    /// Of all the time that layers took, from 0 to 1.
    package let share: Double

    /// The layers that took the most time, the slowest first.
    package static func slowest(_ count: Int, of layers: [Profiler.Layer]) -> [LayerSummary] {
        struct Key: Hashable {
            let part: String
            let label: String
            let operation: String
        }
        let total = layers.reduce(0) { $0 + $1.seconds }
        let groups = Dictionary(grouping: layers) { Key(part: $0.part, label: $0.label, operation: $0.operation) }
        let summaries = groups.map { key, runs in
            let seconds = runs.reduce(0) { $0 + $1.seconds }
            return LayerSummary(
                part: key.part, label: key.label, operation: key.operation, runs: runs.count, seconds: seconds,
                share: total > 0 ? seconds / total : 0)
        }
        // By name among equals, so that the order is the same each time.
        return Array(summaries.sorted { ($0.seconds, $1.label) > ($1.seconds, $0.label) }.prefix(count))
    }
}
