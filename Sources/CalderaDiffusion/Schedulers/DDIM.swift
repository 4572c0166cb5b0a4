import CalderaGraph

/// Denoising diffusion implicit models (Song et al. 2020, equations 12 and 16), as diffusers' DDIMScheduler.
/// The latent is variance-preserving: x = sqrt(ᾱ)·x0 + sqrt(1 - ᾱ)·ε.
package struct DDIMScheduler: Scheduler {
    package static let className = "DDIMScheduler"
    package static let shortNames = ["ddim"]
    package static let webLabel = "DDIM"

    private let noise: NoiseSchedule
    private let grid: TimestepGrid
    private let prediction: PredictionType
    /// ᾱ after the last step.
    private let finalAlphaCumprod: Double
    private let eta: Double

    package init(config: SchedulerConfig) throws {
        try self.init(config: config, eta: 0)
    }

    /// - Parameter eta: η from 0, no noise, to 1, as much as ancestral sampling adds.
    ///
    /// A missing clip_sample counts as false although the diffusers class would clip: its Stable Diffusion pipelines
    /// turn that off, since it clamps pixels to [-1, 1] and latents reach beyond.
    package init(config: SchedulerConfig, eta: Double) throws {
        guard (0...1).contains(eta) else { throw CalderaError.usage("DDIM's eta is \(eta); it must be from 0 to 1") }
        self.eta = eta
        noise = try NoiseSchedule(config: config, finiteSigmas: false)
        grid = try TimestepGrid(config: config, defaultSpacing: .leading)
        prediction = try config.choice("prediction_type", default: .epsilon)
        let endsClean = try config.flag("set_alpha_to_one", default: true)
        finalAlphaCumprod = endsClean ? 1 : Double(noise.alphasCumprod[0])
        try config.requireOff("clip_sample", "thresholding")
    }

    package func schedule(_ request: ScheduleRequest) throws -> Schedule {
        let timesteps = try grid.whole(steps: request.steps)
        let stride = noise.trainSteps / request.steps
        let table = timesteps.indices.map { index in
            let following = index + 1 < timesteps.count ? timesteps[index + 1] : nil
            return step(
                timestep: timesteps[index], previous: timesteps[index] - stride,
                level: following.map { .preserving(alphaCumprod($0)) } ?? .clean)
        }
        let alphas = timesteps.map(alphaCumprod) + [alphaCumprod(timesteps[request.steps - 1] - stride)]
        return try Schedule(
            scheduler: Self.self, prediction: prediction, steps: request.remaining(table), initNoiseSigma: 1,
            start: .preserving(alphas[request.first]),
            sigmas: alphas[request.first...].map { ((1 - $0) / $0).squareRoot() })
    }

    /// Below the first training timestep lies the final value.
    private func alphaCumprod(_ timestep: Int) -> Double {
        timestep < 0 ? finalAlphaCumprod : Double(noise.alphasCumprod[timestep])
    }

    private func step(timestep: Int, previous: Int, level: NoiseLevel) -> StepCoefficients {
        let (alpha, next) = (alphaCumprod(timestep), alphaCumprod(previous))
        let variance = (1 - next) / (1 - alpha) * (1 - alpha / next)
        let added = eta * variance.squareRoot()
        let (clean, direction) = prediction.cleanAndNoise(alphaCumprod: alpha)
        let update = next.squareRoot() * clean + max(0, 1 - next - added * added).squareRoot() * direction
        return StepCoefficients(
            timestep: Float(timestep), inputScale: 1, updates: [update + added * .freshNoise], drawsNoise: eta > 0,
            level: level)
    }
}
