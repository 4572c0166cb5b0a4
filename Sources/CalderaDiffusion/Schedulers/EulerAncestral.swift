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
        noise = try NoiseSchedule(config: config, finiteSigmas: true)
        grid = try TimestepGrid(config: config, defaultSpacing: .linspace)
        prediction = try config.choice("prediction_type", default: .epsilon)
    }

    package func schedule(_ request: ScheduleRequest) throws -> Schedule {
        let timesteps = try grid.fractional(steps: request.steps)
        let sigmas = timesteps.map { Double(Float(noise.sigma(at: $0))) } + [0]
        let table = zip(timesteps, zip(sigmas, sigmas.dropFirst())).map { timestep, levels in
            step(timestep: timestep, sigma: levels.0, next: levels.1)
        }
        return try Schedule(
            scheduler: Self.self, prediction: prediction, steps: request.remaining(table),
            initNoiseSigma: SigmaSpace.initNoiseSigma(sigmas, spacing: grid.spacing),
            start: .exploding(sigmas[request.first]), sigmas: Array(sigmas[request.first...]))
    }

    /// σ_up² = σ'²·(σ² - σ'²)/σ² and σ_down² = σ'² - σ_up² = σ'⁴/σ², where σ' is the next level.
    private func step(timestep: Float, sigma: Double, next: Double) -> StepCoefficients {
        let ratio = next / sigma
        let up = next * max(0, 1 - ratio * ratio).squareRoot()
        let down = next * ratio
        let derivative = (.latent - prediction.clean(sigma: sigma)) / sigma
        return StepCoefficients(
            timestep: timestep, inputScale: SigmaSpace.inputScale(sigma),
            updates: [.latent + (down - sigma) * derivative + up * .freshNoise], drawsNoise: true,
            level: .exploding(next))
    }
}
