import CalderaGraph

/// The noise levels of the schedulers that work on variance-exploding latents: one for each timestep of the grid, or a
/// family of levels between the highest and the lowest of these.
struct SpacedSigmas: Sendable {
    let noise: NoiseSchedule
    let grid: TimestepGrid
    let spacing: SigmaSpacing
    private let single: Bool

    var scheduleType: String? { spacing.family?.label }

    /// - Parameters:
    ///   - karrasTakesLimits: as in `SigmaSpacing`.
    ///   - single: whether the diffusers class rounds fractional timesteps to fp32 before it looks up their levels.
    init(
        config: SchedulerConfig, defaults: NoiseSchedule.Defaults = .pixels, zeroSNR: NoiseSchedule.ZeroSNR,
        karrasTakesLimits: Bool = true, single: Bool = true
    ) throws {
        self.single = single
        noise = try NoiseSchedule(config: config, defaults: defaults, zeroSNR: zeroSNR)
        grid = try TimestepGrid(config: config, defaultSpacing: .linspace)
        spacing = try SigmaSpacing(config: config, karrasTakesLimits: karrasTakesLimits)
    }

    /// The timesteps of the grid itself, or those that a person asks for.
    func timesteps(_ request: ScheduleRequest, for scheduler: any Scheduler.Type) throws -> [Double] {
        try request.refuseTimesteps(with: spacing.family, for: scheduler)
        let custom = try request.customTimesteps(grid, for: scheduler)
        return try custom?.map(Double.init) ?? grid.fractional(steps: request.steps, single: single)
    }

    /// The timesteps and the level at each.
    func levels(
        _ request: ScheduleRequest, for scheduler: any Scheduler.Type
    ) throws -> (timesteps: [Double], sigmas: [Double]) {
        let timesteps = try timesteps(request, for: scheduler)
        return respaced(timesteps, sigmas: timesteps.map(noise.sigma(at:)))
    }

    /// The same, or the family's levels between the first and the last of `sigmas`, and the timesteps where they lie.
    func respaced(_ timesteps: [Double], sigmas: [Double]) -> (timesteps: [Double], sigmas: [Double]) {
        let ends = (sigmas[0], sigmas[sigmas.count - 1])
        guard let levels = spacing.levels(from: ends.0, to: ends.1, count: timesteps.count) else {
            return (timesteps, sigmas)
        }
        return (levels.map(noise.timestep(ofSigma:)), levels)
    }
}

/// What the schedulers share whose latent is variance-exploding, x = x0 + σ·ε.
enum SigmaSpace {
    /// What turns such a latent into the unit-variance one that the model was trained on.
    static func inputScale(_ sigma: Double) -> Double {
        1 / (sigma * sigma + 1).squareRoot()
    }

    /// The scale of the first latent. Only leading spacing counts the unit variance of the picture itself, because its
    /// first level is well below the last one of the training.
    static func initNoiseSigma(_ sigmas: [Double], spacing: TimestepSpacing) -> Double {
        let maximum = sigmas.reduce(0, max)
        return spacing == .leading ? (maximum * maximum + 1).squareRoot() : maximum
    }

    /// Levels rounded to fp32, as diffusers keeps them, and the one after the last step.
    static func rounded(_ sigmas: [Double], final: Double = 0) -> [Double] {
        (sigmas + [final]).map { Double(Float($0)) }
    }

    /// Each value but the first twice in a row, as diffusers lists the times of two evaluations in a step.
    static func interleaved(_ values: [Double]) -> [Double] {
        values.prefix(1) + values.dropFirst().flatMap { [$0, $0] }
    }
}
