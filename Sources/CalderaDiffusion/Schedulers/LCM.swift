/// Sampling of latent consistency models (Luo et al. 2023, algorithm 3), as diffusers' LCMScheduler: each evaluation
/// predicts the clean latents, and fresh noise leads to the next timestep.
/// The latent is variance-preserving: x = sqrt(ᾱ)·x0 + sqrt(1 - ᾱ)·ε.
package struct LCMScheduler: Scheduler {
    package static let className = "LCMScheduler"
    package static let shortNames = ["lcm"]
    package static let webLabel = "LCM"

    private let grid: ConsistencyGrid
    private let prediction: PredictionType
    private let timestepScaling: Double

    package init(config: SchedulerConfig) throws {
        grid = try ConsistencyGrid(config: config)
        prediction = try config.prediction(of: Self.self)
        timestepScaling = try config.number("timestep_scaling", default: 10)
        try config.requireOff("clip_sample", "thresholding")
    }

    package func schedule(_ request: ScheduleRequest) throws -> Schedule {
        let timesteps = try grid.timesteps(request, for: Self.self)
        let sampling = SamplingGrid.preserving(timesteps: timesteps, noise: grid.noise, final: 1)
        return try sampling.schedule(for: Self.self, prediction: prediction, from: request) { index in
            let denoised = denoised(at: timesteps[index])
            guard index + 1 < timesteps.count else { return Move(updates: [denoised]) }
            let next = sampling.levels[index + 1]
            return Move(updates: [next.image * denoised + next.noise * .freshNoise], drawsNoise: true)
        }
    }

    /// The consistency function: the prediction blended with the latents so that it is the identity at timestep 0
    /// (Song et al. 2023, "Consistency Models", equation 5, with σ_data = 1/2).
    private func denoised(at timestep: Int) -> LinearForm {
        let alpha = Double(grid.noise.alphasCumprod[timestep])
        let scaled = Double(timestep) * timestepScaling
        let total = scaled * scaled + 0.25
        let clean = prediction.cleanAndNoise(alphaCumprod: alpha).clean
        return (scaled / total.squareRoot()) * clean + (0.25 / total) * .latent
    }
}
