import CalderaGraph

/// Ancestral sampling along the diffusion that the model was trained on (Ho et al. 2020, "Denoising Diffusion
/// Probabilistic Models", equation 7), as diffusers' DDPMScheduler.
/// The latent is variance-preserving: x = sqrt(ᾱ)·x0 + sqrt(1 - ᾱ)·ε.
package struct DDPMScheduler: Scheduler {
    package static let className = "DDPMScheduler"
    package static let shortNames = ["ddpm"]
    package static let webLabel = "DDPM"

    /// The variance of the noise added. Learned ones need a model with twice the channels; for fixed_large_log diffusers
    /// takes the root of a logarithm, which is no number.
    private enum Variance: String, CaseIterable {
        case small = "fixed_small"
        case smallLog = "fixed_small_log"
        case large = "fixed_large"
    }

    private let noise: NoiseSchedule
    private let grid: TimestepGrid
    private let prediction: PredictionType
    private let variance: Variance

    /// A missing clip_sample counts as false, as with `DDIMScheduler`.
    package init(config: SchedulerConfig) throws {
        noise = try NoiseSchedule(config: config, zeroSNR: .exact)
        grid = try TimestepGrid(config: config, defaultSpacing: .leading)
        prediction = try config.prediction(of: Self.self)
        variance = try config.choice("variance_type", default: .small)
        try config.requireOff("clip_sample", "thresholding")
    }

    package func schedule(_ request: ScheduleRequest) throws -> Schedule {
        let custom = try request.customTimesteps(grid, for: Self.self)
        let timesteps = try custom ?? grid.whole(steps: request.steps)
        let alphas = timesteps.map { Double(noise.alphasCumprod[$0]) } + [1]
        let sampling = SamplingGrid.preserving(timesteps: timesteps, noise: noise, final: 1)
        return try sampling.schedule(for: Self.self, prediction: prediction, from: request) { index in
            let drawsNoise = timesteps[index] > 0
            let mean = mean(from: alphas[index], to: alphas[index + 1])
            let added = drawsNoise ? deviation(from: alphas[index], to: alphas[index + 1]) : 0
            return Move(updates: [mean + added * .freshNoise], drawsNoise: drawsNoise)
        }
    }

    private func mean(from alpha: Double, to next: Double) -> LinearForm {
        let beta = 1 - alpha / next
        let clean = prediction.cleanAndNoise(alphaCumprod: alpha).clean
        return (next.squareRoot() * beta / (1 - alpha)) * clean
            + ((alpha / next).squareRoot() * (1 - next) / (1 - alpha)) * .latent
    }

    private func deviation(from alpha: Double, to next: Double) -> Double {
        let beta = 1 - alpha / next
        switch variance {
        case .small, .smallLog: return max((1 - next) / (1 - alpha) * beta, 1e-20).squareRoot()
        case .large: return beta.squareRoot()
        }
    }
}
