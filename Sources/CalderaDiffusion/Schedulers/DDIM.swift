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
    /// η from 0, no noise, to 1, as much as ancestral sampling adds.
    private let eta: Double

    /// A missing clip_sample counts as false although the diffusers class would clip: its Stable Diffusion pipelines
    /// turn that off, since it clamps pixels to [-1, 1] and latents reach beyond.
    package init(config: SchedulerConfig) throws {
        eta = try config.eta(of: Self.self, default: 0)
        noise = try NoiseSchedule(config: config, zeroSNR: .exact)
        grid = try TimestepGrid(config: config, defaultSpacing: .leading)
        prediction = try config.prediction(of: Self.self)
        let endsClean = try config.flag("set_alpha_to_one", default: true)
        finalAlphaCumprod = endsClean ? 1 : Double(noise.alphasCumprod[0])
        try config.requireOff("clip_sample", "thresholding")
    }

    package func schedule(_ request: ScheduleRequest) throws -> Schedule {
        try request.refuseGrid(for: Self.self)
        let timesteps = try grid.whole(steps: request.steps)
        let stride = noise.trainSteps / request.steps
        let sampling = SamplingGrid.preserving(
            timesteps: timesteps, noise: noise, final: alphaCumprod(timesteps[timesteps.count - 1] - stride))
        return try sampling.schedule(for: Self.self, prediction: prediction, from: request) { index in
            Move(updates: [update(from: timesteps[index], to: timesteps[index] - stride)], drawsNoise: eta > 0)
        }
    }

    /// Below the first training timestep lies the final value.
    private func alphaCumprod(_ timestep: Int) -> Double {
        timestep < 0 ? finalAlphaCumprod : Double(noise.alphasCumprod[timestep])
    }

    private func update(from timestep: Int, to previous: Int) -> LinearForm {
        let (alpha, next) = (alphaCumprod(timestep), alphaCumprod(previous))
        let variance = (1 - next) / (1 - alpha) * (1 - alpha / next)
        let added = eta * variance.squareRoot()
        let (clean, direction) = prediction.cleanAndNoise(alphaCumprod: alpha)
        return next.squareRoot() * clean + max(0, 1 - next - added * added).squareRoot() * direction
            + added * .freshNoise
    }
}
