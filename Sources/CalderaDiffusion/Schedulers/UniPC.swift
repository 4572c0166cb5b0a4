import Foundation

/// UniPC (Zhao et al. 2023, "UniPC: A Unified Predictor-Corrector Framework for Fast Sampling of Diffusion Models",
/// algorithms 5 to 8), as diffusers' UniPCMultistepScheduler: each evaluation first corrects the step that led to it, then
/// makes the next one. The latent is variance-preserving: x = sqrt(ᾱ)·x0 + sqrt(1 - ᾱ)·ε.
package struct UniPCScheduler: Scheduler {
    package static let className = "UniPCMultistepScheduler"
    package static let shortNames = ["unipc"]
    package static let webLabel = "UniPC"
    package static let takesSigmaFamilies = true

    /// The B(h) of the paper.
    fileprivate enum Variant: String, CaseIterable {
        case bh1
        case bh2
        /// Configurations of other classes; diffusers uses bh2 for them.
        case midpoint
        case heun
        case logRho = "logrho"
    }

    private let grid: SolverGrid
    private let prediction: PredictionType
    private let finalSigma: FinalSigma
    private let variant: Variant
    private let highestOrder: Int
    private let lowersAtEnd: Bool
    private let predictsClean: Bool
    /// Steps that are not corrected.
    private let uncorrected: Set<Int>

    package var scheduleType: String? { grid.spacing.family?.label }

    package init(config: SchedulerConfig) throws {
        grid = try SolverGrid(config: config, zeroSNR: .lifted, clips: false)
        prediction = try config.prediction(of: Self.self)
        finalSigma = try config.choice("final_sigmas_type", default: .zero)
        variant = try config.choice("solver_type", default: .bh2)
        highestOrder = try config.integer("solver_order", default: 2)
        lowersAtEnd = try config.flag("lower_order_final", default: true)
        predictsClean = try config.flag("predict_x0", default: true)
        uncorrected = Set((try config.numbers("disable_corrector") ?? []).compactMap { Int(exactly: $0) })
        guard (1...3).contains(highestOrder) else {
            throw config.error("solver_order", "is \(highestOrder); it must be 1, 2 or 3")
        }
        try config.requireOff("thresholding")
    }

    package func schedule(_ request: ScheduleRequest) throws -> Schedule {
        try request.refuseGrid(for: Self.self)
        let given = try grid.levels(request, for: Self.self)
        let sigmas = SigmaSpace.rounded(given.sigmas, final: final(given.sigmas))
        let sampling = SamplingGrid.preserving(timesteps: given.timesteps, sigmas: sigmas)
        let levels = sigmas.map(SolverLevel.init(preserving:))
        let orders = given.timesteps.indices.map { order(of: $0, in: given.timesteps.count, first: request.first) }
        return try sampling.schedule(for: Self.self, prediction: prediction, from: request) { index in
            let (clean, noise) = prediction.cleanAndNoise(sigma: sigmas[index])
            let output = predictsClean ? clean : noise
            var latents = LinearForm.latent
            if index > request.first, !uncorrected.contains(index - 1) {
                latents = correction(step(from: index - 1, levels), output, order: orders[index - 1])
            }
            let next = step(from: index, levels).predicted(
                from: latents, [output, .state(2), .state(3)], order: orders[index])
            return Move(updates: [next, latents, output, .state(2), .state(3)])
        }
    }

    private func final(_ sigmas: [Double]) -> Double {
        guard finalSigma == .sigmaMin else { return 0 }
        return grid.spacing.family == nil ? Double(grid.noise.sigmas[0]) : sigmas[sigmas.count - 1]
    }

    /// As many predictions as are known, fewer at the end.
    private func order(of index: Int, in count: Int, first: Int) -> Int {
        let allowed = lowersAtEnd ? min(highestOrder, count - index) : highestOrder
        return min(allowed, index - first + 1)
    }

    /// Where the step before should have led, now that the prediction `output` at its end is known. State 1 keeps the
    /// latents at its start, states 2 to 4 the predictions from there backwards.
    private func correction(_ step: UniPCStep, _ output: LinearForm, order: Int) -> LinearForm {
        step.corrected(from: .state(1), [.state(2), .state(3), .state(4)], end: output, order: order)
    }

    private func step(from index: Int, _ levels: [SolverLevel]) -> UniPCStep {
        UniPCStep(
            levels: Array(levels[max(0, index - 2)...index].reversed()), end: levels[index + 1],
            predictsClean: predictsClean, usesBh1: variant == .bh1)
    }
}

/// The arithmetic of one UniPC step.
private struct UniPCStep {
    /// The start of the step and those before it, newest first.
    let levels: [SolverLevel]
    let end: SolverLevel
    let predictsClean: Bool
    let usesBh1: Bool

    /// The signed length of the step.
    private var length: Double {
        let h = end.lambda - levels[0].lambda
        return predictsClean ? -h : h
    }

    /// B(h).
    private var scale: Double { usesBh1 ? length : expm1(length) }

    /// The step to `end` without the differences of predictions.
    private func base(_ latents: LinearForm, _ prediction: LinearForm) -> LinearForm {
        let kept = predictsClean ? end.noise / levels[0].noise : end.signal / levels[0].signal
        return kept * latents - (amplitude * expm1(length)) * prediction
    }

    private var amplitude: Double { predictsClean ? end.signal : end.noise }

    /// UniP: the step from the predictions at its start and before.
    func predicted(from latents: LinearForm, _ predictions: [LinearForm], order: Int) -> LinearForm {
        guard order > 1 else { return base(latents, predictions[0]) }
        let ratios = ratios(order)
        let weights = order == 2 ? [0.5] : weights(ratios)
        let change = differences(predictions, ratios, weights)
        return base(latents, predictions[0]) - (amplitude * scale) * change
    }

    /// UniC: the step from these and the prediction at its end.
    func corrected(from latents: LinearForm, _ predictions: [LinearForm], end prediction: LinearForm, order: Int)
        -> LinearForm
    {
        let ratios = ratios(order)
        let weights = order == 1 ? [0.5] : weights(ratios + [1])
        let change = differences(predictions, ratios, weights) + weights[order - 1] * (prediction - predictions[0])
        return base(latents, predictions[0]) - (amplitude * scale) * change
    }

    /// The distances in λ of earlier predictions from the start of the step, in lengths of the step.
    private func ratios(_ order: Int) -> [Double] {
        let h = end.lambda - levels[0].lambda
        return (1..<order).map { (levels[$0].lambda - levels[0].lambda) / h }
    }

    private func differences(_ predictions: [LinearForm], _ ratios: [Double], _ weights: [Double]) -> LinearForm {
        ratios.indices.reduce(LinearForm.zero) { sum, index in
            sum + (weights[index] / ratios[index]) * (predictions[index + 1] - predictions[0])
        }
    }

    /// The a with Σ a_j·r_j^(i-1) = i!·φ_{i+1}/B for i from 1 on (equation 11 of the paper).
    private func weights(_ ratios: [Double]) -> [Double] {
        var phi = expm1(length) / length - 1
        var factorial = 1.0
        var rows: [[Double]] = []
        for index in ratios.indices {
            rows.append(ratios.map { pow($0, Double(index)) } + [phi * factorial / scale])
            factorial *= Double(index + 2)
            phi = phi / length - 1 / factorial
        }
        return Self.solved(rows)
    }

    /// The solution of a linear system of at most three rows, each with its right side at the end. No pivot is needed:
    /// the leading minors of these Vandermonde matrices are products of differences of distinct ratios.
    private static func solved(_ system: [[Double]]) -> [Double] {
        var rows = system
        for pivot in rows.indices {
            rows[pivot] = rows[pivot].map { [divisor = rows[pivot][pivot]] in $0 / divisor }
            for other in rows.indices where other != pivot {
                let factor = rows[other][pivot]
                rows[other] = zip(rows[other], rows[pivot]).map { $0 - factor * $1 }
            }
        }
        return rows.map { $0[rows.count] }
    }
}
