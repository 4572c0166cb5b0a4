/// Heun's method on the probability-flow equation in σ (Karras et al. 2022, algorithm 1), as diffusers'
/// HeunDiscreteScheduler: an Euler step, a second evaluation at its end, and the mean of the two slopes; the last step is
/// Euler's. The latent is variance-exploding: x = x0 + σ·ε.
package struct HeunScheduler: Scheduler {
    package static let className = "HeunDiscreteScheduler"
    package static let shortNames = ["heun"]
    package static let webLabel = "Heun"
    package static let takesSigmaFamilies = true

    private let spaced: SpacedSigmas
    private let prediction: PredictionType

    package var scheduleType: String? { spaced.scheduleType }

    package init(config: SchedulerConfig) throws {
        spaced = try SpacedSigmas(config: config, defaults: .secondOrder, zeroSNR: .ignored)
        prediction = try config.prediction(of: Self.self)
        try config.requireOff("clip_sample")
    }

    package func schedule(_ request: ScheduleRequest) throws -> Schedule {
        let levels = try spaced.levels(request, for: Self.self)
        let sigmas = SigmaSpace.rounded(levels.sigmas)
        let grid = SamplingGrid.exploding(
            timesteps: SigmaSpace.interleaved(levels.timesteps),
            sigmas: SigmaSpace.interleaved(sigmas.dropLast()) + [0],
            initNoiseSigma: SigmaSpace.initNoiseSigma(sigmas, spacing: spaced.grid.spacing), order: 2)
        return try grid.schedule(for: Self.self, prediction: prediction, from: request) { index in
            let (sigma, next) = (sigmas[index / 2], sigmas[index / 2 + 1])
            return index % 2 == 0 ? step(from: sigma, to: next) : correction(from: sigma, to: next)
        }
    }

    /// Euler's step; state 1 keeps where half of it leads.
    private func step(from sigma: Double, to next: Double) -> Move {
        let derivative = (.latent - prediction.clean(sigma: sigma)) / sigma
        let change = (next - sigma) * derivative
        return Move(inputScale: SigmaSpace.inputScale(sigma), updates: [.latent + change, .latent + 0.5 * change])
    }

    /// The other half of the step along the slope at its end.
    private func correction(from sigma: Double, to next: Double) -> Move {
        let derivative = (.latent - prediction.clean(sigma: next)) / next
        return Move(
            inputScale: SigmaSpace.inputScale(next), updates: [.state(1) + 0.5 * (next - sigma) * derivative])
    }
}
