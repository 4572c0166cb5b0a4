import Foundation

/// The midpoint method on the probability-flow equation (algorithm 2 of Karras et al. 2022 as k-diffusion's
/// `sample_dpm_2` has it, with the midpoint in log σ), as diffusers' KDPM2DiscreteScheduler; the last step is Euler's.
/// The latent is variance-exploding: x = x0 + σ·ε.
package struct KDPM2Scheduler: Scheduler {
    package static let className = "KDPM2DiscreteScheduler"
    package static let shortNames = ["dpm2", "kdpm2"]
    package static let webLabel = "DPM2"
    package static let takesSigmaFamilies = true

    private let sampler: MidpointSampler

    package var scheduleType: String? { sampler.scheduleType }

    package init(config: SchedulerConfig) throws {
        sampler = try MidpointSampler(Self.self, config: config, isAncestral: false)
    }

    package func schedule(_ request: ScheduleRequest) throws -> Schedule { try sampler.schedule(request) }
}

/// The midpoint method with steps to a level below the next one and fresh noise up to it (k-diffusion's
/// `sample_dpm_2_ancestral` with η = 1), as diffusers' KDPM2AncestralDiscreteScheduler.
///
/// After one long step to the lowest level the lower level is all rounding; see `SingleFunctions`.
package struct KDPM2AncestralScheduler: Scheduler {
    package static let className = "KDPM2AncestralDiscreteScheduler"
    package static let shortNames = ["dpm2_a", "dpm2_ancestral", "kdpm2_a"]
    package static let webLabel = "DPM2 a"
    package static let takesSigmaFamilies = true

    private let sampler: MidpointSampler

    package var scheduleType: String? { sampler.scheduleType }

    package init(config: SchedulerConfig) throws {
        sampler = try MidpointSampler(Self.self, config: config, isAncestral: true)
    }

    package func schedule(_ request: ScheduleRequest) throws -> Schedule { try sampler.schedule(request) }
}

/// What the two share: state 1 keeps the latents before the step while the model looks at the midpoint.
private struct MidpointSampler {
    private let scheduler: any Scheduler.Type
    private let spaced: SpacedSigmas
    private let prediction: PredictionType
    private let isAncestral: Bool

    var scheduleType: String? { spaced.scheduleType }

    init(_ scheduler: any Scheduler.Type, config: SchedulerConfig, isAncestral: Bool) throws {
        self.scheduler = scheduler
        self.isAncestral = isAncestral
        spaced = try SpacedSigmas(config: config, defaults: .secondOrder, zeroSNR: .ignored)
        prediction = try config.prediction(of: scheduler)
    }

    /// A step ends at `end`, below the next level where noise is added; the last has no midpoint.
    private struct Step {
        let start: Double
        let middle: Double
        let end: Double
        let added: Double
    }

    func schedule(_ request: ScheduleRequest) throws -> Schedule {
        try request.refuseGrid(for: scheduler)
        let levels = try spaced.levels(request, for: scheduler)
        let sigmas = SigmaSpace.rounded(levels.sigmas)
        let steps = zip(sigmas, sigmas.dropFirst()).map(step)
        let grid = SamplingGrid.exploding(
            timesteps: timesteps(levels.timesteps, steps), sigmas: SigmaSpace.interleaved(sigmas.dropLast()) + [0],
            initNoiseSigma: SigmaSpace.initNoiseSigma(sigmas, spacing: spaced.grid.spacing), order: 2)
        return try grid.schedule(for: scheduler, prediction: prediction, from: request) { index in
            index % 2 == 0 ? half(of: steps[index / 2]) : whole(steps[index / 2])
        }
    }

    private func step(from sigma: Double, to next: Double) -> Step {
        // Single precision, as in diffusers: where a step is long, little of σ_down and so of the midpoint is left of it.
        let (start, target) = (Float(sigma), Float(next))
        let variance = target * target * (start * start - target * target) / (start * start)
        let functions = spaced.noise.functions
        let up = isAncestral ? functions.root(variance) : 0
        let end = isAncestral ? functions.root(max(0, target * target - up * up)) : target
        let ends = isAncestral ? (start, end) : (end, start)
        return Step(start: sigma, middle: middle(ends.0, ends.1), end: Double(end), added: Double(up))
    }

    /// The geometric mean, rounded as `sigmas.log().lerp(others.log(), 0.5).exp()` is; 0 if one of them is.
    private func middle(_ first: Float, _ second: Float) -> Double {
        guard min(first, second) > 0 else { return 0 }
        let functions = spaced.noise.functions
        let (from, to) = (functions.logarithm(first), functions.logarithm(second))
        return Double(functions.exponential(to - (to - from) * 0.5))
    }

    /// The timesteps of the grid with those of the midpoints between them. Diffusers rounds Karras' timesteps here.
    private func timesteps(_ timesteps: [Double], _ steps: [Step]) -> [Double] {
        let rounds = spaced.spacing.family == .karras
        let whole = rounds ? timesteps.map { $0.rounded(.toNearestOrEven) } : timesteps
        let middles = steps.dropLast().map { spaced.noise.timestep(ofSingleSigma: $0.middle) }
        return whole.prefix(1) + zip(middles, whole.dropFirst()).flatMap { [$0, $1] }
    }

    private func half(of step: Step) -> Move {
        let clean = prediction.clean(sigma: step.start)
        let derivative = (.latent - clean) / step.start
        return Move(
            inputScale: SigmaSpace.inputScale(step.start),
            updates: [.latent + (step.middle - step.start) * derivative, .latent], estimate: clean)
    }

    private func whole(_ step: Step) -> Move {
        let clean = prediction.clean(sigma: step.middle)
        let derivative = (.latent - clean) / step.middle
        return Move(
            inputScale: SigmaSpace.inputScale(step.middle),
            updates: [.state(1) + (step.end - step.start) * derivative + step.added * .freshNoise],
            drawsNoise: isAncestral, estimate: clean)
    }
}
