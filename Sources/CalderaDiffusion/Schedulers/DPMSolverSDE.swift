import Foundation

/// The stochastic DPM-Solver++ of second order with one midpoint (Katherine Crowson's `sample_dpmpp_sde` in k-diffusion
/// with r = 1/2 and η = 1), as diffusers' DPMSolverSDEScheduler; the last step is Euler's.
///
/// Its noise is not drawn from the random stream but is a Brownian path over σ (`BrownianPath`), so that the two
/// evaluations of a step see the same one. Such a path is rough enough to show the last digit of the σ at which it is
/// read, in which torch on one CPU differs from torch on another; see `SingleFunctions`. The latent is
/// variance-exploding: x = x0 + σ·ε.
package struct DPMSolverSDEScheduler: Scheduler {
    package static let className = "DPMSolverSDEScheduler"
    package static let shortNames = ["dpmpp_sde", "dpm_solver_sde"]
    package static let webLabel = "DPM++ SDE"
    package static let takesSigmaFamilies = true

    private let spaced: SpacedSigmas
    private let prediction: PredictionType

    package var scheduleType: String? { spaced.scheduleType }

    package init(config: SchedulerConfig) throws {
        spaced = try SpacedSigmas(
            config: config, defaults: .secondOrder, zeroSNR: .ignored, karrasTakesLimits: false, single: false)
        prediction = try config.prediction(of: Self.self)
    }

    package func schedule(_ request: ScheduleRequest) throws -> Schedule {
        try request.refuseGrid(for: Self.self)
        let levels = try spaced.levels(request, for: Self.self)
        let sigmas = SigmaSpace.rounded(levels.sigmas)
        let middles = zip(levels.sigmas, levels.sigmas.dropFirst()).map { ($0 * $1).squareRoot() }
        let between = zip(middles.map(spaced.noise.timestep(ofSigma:)), levels.timesteps.dropFirst())
        let grid = SamplingGrid.exploding(
            timesteps: levels.timesteps.prefix(1) + between.flatMap { [$0, $1] },
            sigmas: SigmaSpace.interleaved(sigmas.dropLast()) + [0],
            initNoiseSigma: SigmaSpace.initNoiseSigma(sigmas, spacing: spaced.grid.spacing), order: 2)
        let path = BrownianSpan.Path(from: sigmas[sigmas.count - 2], to: sigmas[0])
        return try grid.schedule(for: Self.self, prediction: prediction, from: request) { index in
            let (sigma, next) = (sigmas[index / 2], sigmas[index / 2 + 1])
            guard next > 0 else { return euler(from: sigma) }
            let times = SolverTimes(from: sigma, to: next, functions: spaced.noise.functions)
            return index % 2 == 0 ? half(times, path) : whole(times, path)
        }
    }

    /// State 1 keeps the latents at the start of the step.
    private func half(_ times: SolverTimes, _ path: BrownianSpan.Path) -> Move {
        let clean = prediction.clean(sigma: times.start)
        let next = ancestral(.latent, clean: clean, from: times.start, to: times.middle)
        return Move(
            inputScale: SigmaSpace.inputScale(times.start), updates: [next, .latent], drawsNoise: true,
            brownian: BrownianSpan(path: path, from: times.start, to: times.middle), estimate: clean)
    }

    private func whole(_ times: SolverTimes, _ path: BrownianSpan.Path) -> Move {
        let clean = prediction.clean(sigma: times.middle)
        let next = ancestral(.state(1), clean: clean, from: times.start, to: times.end)
        return Move(
            inputScale: SigmaSpace.inputScale(times.middle), updates: [next], drawsNoise: true,
            brownian: BrownianSpan(path: path, from: times.start, to: times.end), estimate: clean)
    }

    private func euler(from sigma: Double) -> Move {
        Move(inputScale: SigmaSpace.inputScale(sigma), updates: [prediction.clean(sigma: sigma)])
    }

    /// The exact solution for constant `clean` from σ down to σ_down, then noise up to σ'.
    private func ancestral(
        _ latents: LinearForm, clean: LinearForm, from sigma: Double, to next: Double
    ) -> LinearForm {
        let split = AncestralSplit(from: sigma, to: next)
        let kept = split.down / sigma
        return kept * latents + (1 - kept) * clean + split.up * .freshNoise
    }
}

/// The noise levels of a step, with the roundings to single precision that diffusers makes on the way to their logarithms
/// and back.
private struct SolverTimes {
    let start: Double
    let middle: Double
    let end: Double

    init(from sigma: Double, to next: Double, functions: SingleFunctions) {
        let (time, nextTime) = (-functions.logarithm(Float(sigma)), -functions.logarithm(Float(next)))
        func level(at time: Float) -> Double { Double(functions.exponential(-time)) }
        start = level(at: time)
        middle = level(at: time + (nextTime - time) * 0.5)
        end = level(at: nextTime)
    }
}
