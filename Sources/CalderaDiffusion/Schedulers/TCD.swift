/// Trajectory consistency sampling (Zheng et al. 2024, "Trajectory Consistency Distillation", algorithm 4), as
/// diffusers' TCDScheduler: a step down beyond the next timestep, then fresh noise up to it.
/// The latent is variance-preserving: x = sqrt(ᾱ)·x0 + sqrt(1 - ᾱ)·ε.
package struct TCDScheduler: Scheduler {
    package static let className = "TCDScheduler"
    package static let shortNames = ["tcd"]
    package static let webLabel = "TCD"

    private let grid: ConsistencyGrid
    private let prediction: PredictionType
    /// The paper's γ: 0 makes deterministic steps, 1 always goes to the clean latents. 0.3 as in the diffusers class.
    private let eta: Double

    package init(config: SchedulerConfig) throws {
        grid = try ConsistencyGrid(config: config)
        prediction = try config.prediction(of: Self.self)
        eta = try config.eta(of: Self.self, default: 0.3)
        try config.requireOff("clip_sample", "thresholding")
    }

    package func schedule(_ request: ScheduleRequest) throws -> Schedule {
        let timesteps = try grid.timesteps(request, for: Self.self)
        let sampling = SamplingGrid.preserving(timesteps: timesteps, noise: grid.noise, final: alphaCumprod(0))
        return try sampling.schedule(for: Self.self, prediction: prediction, from: request) { index in
            let isLast = index + 1 == timesteps.count
            return move(from: timesteps[index], to: isLast ? 0 : timesteps[index + 1], isLast: isLast)
        }
    }

    private func move(from timestep: Int, to next: Int, isLast: Bool) -> Move {
        // Single precision, as in diffusers, decides which timestep this falls on.
        let target = alphaCumprod(Int(Float(1 - eta) * Float(next)))
        let (clean, direction) = prediction.cleanAndNoise(alphaCumprod: alphaCumprod(timestep))
        let down = target.squareRoot() * clean + (1 - target).squareRoot() * direction
        guard eta > 0, !isLast else { return Move(updates: [down]) }
        let kept = alphaCumprod(next) / target
        return Move(
            updates: [kept.squareRoot() * down + max(0, 1 - kept).squareRoot() * .freshNoise], drawsNoise: true)
    }

    private func alphaCumprod(_ timestep: Int) -> Double { Double(grid.noise.alphasCumprod[timestep]) }
}
