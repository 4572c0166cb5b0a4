/// Euler steps to a level below the next one, then fresh noise up to it (k-diffusion's `sample_euler_ancestral` with
/// η = 1), as diffusers' EulerAncestralDiscreteScheduler. The latent is variance-exploding: x = x0 + σ·ε.
package struct EulerAncestralScheduler: Scheduler {
    package static let className = "EulerAncestralDiscreteScheduler"
    package static let shortNames = ["euler_a", "euler_ancestral"]
    package static let webLabel = "Euler a"

    private let noise: NoiseSchedule
    private let grid: TimestepGrid
    private let prediction: PredictionType

    package init(config: SchedulerConfig) throws {
        noise = try NoiseSchedule(config: config, zeroSNR: .lifted)
        grid = try TimestepGrid(config: config, defaultSpacing: .linspace)
        prediction = try config.prediction(of: Self.self)
    }

    package func schedule(_ request: ScheduleRequest) throws -> Schedule {
        try request.refuseGrid(for: Self.self)
        let timesteps = try grid.fractional(steps: request.steps)
        let sigmas = SigmaSpace.rounded(timesteps.map(noise.sigma(at:)))
        let sampling = SamplingGrid.exploding(
            timesteps: timesteps, sigmas: sigmas,
            initNoiseSigma: SigmaSpace.initNoiseSigma(sigmas, spacing: grid.spacing))
        return try sampling.schedule(for: Self.self, prediction: prediction, from: request) { index in
            let sigma = sigmas[index]
            let split = AncestralSplit(from: sigma, to: sigmas[index + 1])
            let derivative = (.latent - prediction.clean(sigma: sigma)) / sigma
            return Move(
                inputScale: SigmaSpace.inputScale(sigma),
                updates: [.latent + (split.down - sigma) * derivative + split.up * .freshNoise], drawsNoise: true)
        }
    }
}

/// A step from σ to σ' as a longer one down and fresh noise up: σ_up² = σ'²·(σ² - σ'²)/σ² and
/// σ_down² = σ'² - σ_up² = σ'⁴/σ².
struct AncestralSplit {
    let up: Double
    let down: Double

    init(from sigma: Double, to next: Double) {
        let ratio = next / sigma
        up = next * max(0, 1 - ratio * ratio).squareRoot()
        down = next * ratio
    }
}
