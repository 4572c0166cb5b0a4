import Foundation

/// The timesteps and noise levels of the solvers in λ. Unlike the Euler family they span families of levels over the
/// whole training range, and give the model whole timesteps.
struct SolverGrid: Sendable {
    let noise: NoiseSchedule
    let spacing: SigmaSpacing
    private let grid: TimestepGrid
    /// Timesteps from this one on are too noisy to be used.
    private let last: Int
    private let roundsKarras: Bool

    /// Reads the betas, the timesteps, the family of levels and lambda_min_clipped.
    ///
    /// - Parameters:
    ///   - grid: nil for the grid of the configuration.
    ///   - roundsKarras: whether the timesteps of Karras levels are rounded; the others are cut off.
    init(
        config: SchedulerConfig, zeroSNR: NoiseSchedule.ZeroSNR, grid: TimestepGrid? = nil, clips: Bool = true,
        roundsKarras: Bool = true
    ) throws {
        try config.requireOff("use_flow_sigmas", "use_lu_lambdas", "use_dynamic_shifting")
        noise = try NoiseSchedule(config: config, zeroSNR: zeroSNR)
        spacing = try SigmaSpacing(config: config)
        self.grid = try grid ?? TimestepGrid(config: config, defaultSpacing: .linspace)
        self.roundsKarras = roundsKarras
        last = try clips ? noise.timesteps(aboveLambda: config.number("lambda_min_clipped")) : noise.trainSteps
        guard last > 1 else {
            throw config.error("lambda_min_clipped", "leaves no timesteps; choose a smaller one")
        }
    }

    /// The timesteps and σ before each step, without the one after the last.
    func levels(
        _ request: ScheduleRequest, for scheduler: any Scheduler.Type
    ) throws -> (timesteps: [Double], sigmas: [Double]) {
        try request.refuseTimesteps(with: spacing.family, for: scheduler)
        let custom = try request.customTimesteps(grid, for: scheduler)
        let timesteps = try custom ?? grid.withoutLast(steps: request.steps, below: last)
        let ends = (Double(noise.sigmas[noise.trainSteps - 1]), Double(noise.sigmas[0]))
        guard let sigmas = spacing.levels(from: ends.0, to: ends.1, count: timesteps.count) else {
            return (timesteps.map(Double.init), timesteps.map { Double(noise.sigmas[$0]) })
        }
        let rounding: FloatingPointRoundingRule =
            spacing.family == .karras && roundsKarras ? .toNearestOrEven : .towardZero
        return (sigmas.map { noise.timestep(ofSigma: $0).rounded(rounding) }, sigmas)
    }
}

extension NoiseSchedule {
    /// How many timesteps have at least the signal that λ = ln(sqrt(ᾱ)/sqrt(1 - ᾱ)) stands for; all without a limit.
    func timesteps(aboveLambda limit: Double?) -> Int {
        guard let limit else { return trainSteps }
        return alphasCumprod.count { alpha in
            Double(log(alpha.squareRoot()) - log((1 - alpha).squareRoot())) >= limit
        }
    }
}
