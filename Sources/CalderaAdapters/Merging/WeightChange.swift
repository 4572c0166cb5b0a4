import CalderaGraph

/// A change of one weight at the strength that was asked for.
struct WeightChange: Sendable {
    let delta: AdapterDelta
    /// alpha / rank.
    let scale: Double
    let strength: Double
    let magnitude: AdapterMagnitude?

    init(_ change: ModuleChange, strength: Double) {
        delta = change.delta
        scale = change.scale
        self.strength = strength
        magnitude = change.magnitude
    }
}
