/// DPM-Solver and DPM-Solver++ with the predictions of earlier steps (Lu et al. 2022, "DPM-Solver++", algorithm 2, and
/// its stochastic form), as diffusers' DPMSolverMultistepScheduler.
/// The latent is variance-preserving: x = sqrt(ᾱ)·x0 + sqrt(1 - ᾱ)·ε.
package struct DPMSolverMultistepScheduler: Scheduler {
    package static let className = "DPMSolverMultistepScheduler"
    package static let shortNames = ["dpm_solver_multistep"]
    package static let webLabel = "DPM++ 2M"
    package static let takesSigmaFamilies = true
    package static let variants = [
        SchedulerVariant(solver: "dpmpp_2m", algorithm: "dpmsolver++", type: "midpoint", order: 2),
        SchedulerVariant(solver: "dpmpp_3m", algorithm: "dpmsolver++", type: "midpoint", order: 3),
        SchedulerVariant(solver: "dpmpp_2m_sde", algorithm: "sde-dpmsolver++", type: "midpoint", order: 2),
        SchedulerVariant(solver: "dpmpp_2m_sde_heun", algorithm: "sde-dpmsolver++", type: "heun", order: 2),
        SchedulerVariant(solver: "dpmpp_3m_sde", algorithm: "sde-dpmsolver++", type: "midpoint", order: 3),
    ]

    private let grid: SolverGrid
    private let prediction: PredictionType
    private let options: SolverOptions
    private let orders: MultistepOrders

    package var scheduleType: String? { grid.spacing.family?.label }
    package var webLabel: String { options.webLabel }

    package init(config: SchedulerConfig) throws {
        options = try SolverOptions(config: config)
        try options.requireThirdOrder(of: [.clean, .noise, .stochasticClean, .deis], in: config)
        orders = try MultistepOrders(config: config, highest: options.order)
        grid = try SolverGrid(
            config: config, zeroSNR: .lifted, roundsKarras: try !NoiseSchedule.isSquaredCosine(config))
        prediction = try config.prediction(of: Self.self)
        try config.requireOff("thresholding")
        if let learned = try config.string("variance_type"), learned.hasPrefix("learned") {
            throw config.error("variance_type", "is '\(learned)', which is not supported; leave it out")
        }
    }

    package func schedule(_ request: ScheduleRequest) throws -> Schedule {
        let levels = try grid.levels(request, for: Self.self)
        let final = options.finalSigma == .zero ? 0 : Double(grid.noise.sigmas[0])
        let sigmas = SigmaSpace.rounded(levels.sigmas, final: final)
        let sampling = SamplingGrid.preserving(timesteps: levels.timesteps, sigmas: sigmas)
        let solver = MultistepSolver(options: options, levels: sigmas.map(SolverLevel.init(preserving:)))
        return try sampling.schedule(for: Self.self, prediction: prediction, from: request) { index in
            let (clean, noise) = prediction.cleanAndNoise(sigma: sigmas[index])
            return solver.move(
                at: index, order: orders.order(at: index, of: levels.timesteps.count, first: request.first),
                prediction: options.algorithm.predictsClean ? clean : noise)
        }
    }
}

/// Of which order each step of a multistep solver is: it grows with what is known, and falls at the end where small
/// numbers of steps would be unstable.
struct MultistepOrders: Sendable {
    private let highest: Int
    private let lowersAtEnd: Bool
    private let endsWithFirst: Bool

    /// Reads lower_order_final, euler_at_final and final_sigmas_type.
    init(config: SchedulerConfig, highest: Int) throws {
        self.highest = highest
        lowersAtEnd = try config.flag("lower_order_final", default: true)
        let endsAtZero = try config.choice("final_sigmas_type", default: FinalSigma.zero) == .zero
        endsWithFirst = try config.flag("euler_at_final", default: false) || endsAtZero
    }

    /// The order of step `index` of `count` in a loop that starts at `first`.
    func order(at index: Int, of count: Int, first: Int) -> Int {
        let known = min(highest, index - first + 1)
        let lowers = lowersAtEnd && count < 15
        if index == count - 1 && (endsWithFirst || lowers) { return 1 }
        if index == count - 2 && lowers { return min(known, 2) }
        return known
    }
}

/// A step of DPM-Solver from the current prediction and those of the steps before, which states 1 and 2 keep.
struct MultistepSolver {
    let options: SolverOptions
    /// Before each step, and after the last.
    let levels: [SolverLevel]

    func move(at index: Int, order: Int, prediction: LinearForm) -> Move {
        let factors = options.factors(from: levels[index], to: levels[index + 1])
        var next = factors.latent * .latent + factors.constant * prediction
        if order == 2 {
            let slope = (prediction - .state(1)) / ratio(index, 1)
            next = next + (options.usesHeun ? factors.slope : factors.midpointSlope) * slope
        } else if order == 3 {
            let (r0, r1) = (ratio(index, 1), ratio(index, 2))
            let (newer, older) = ((prediction - .state(1)) / r0, (.state(1) - .state(2)) / r1)
            let change = newer - older
            next = next + factors.slope * (newer + (r0 / (r0 + r1)) * change)
            next = next + (factors.curvature / (r0 + r1)) * change
        }
        if options.algorithm.drawsNoise { next = next + factors.noise * .freshNoise }
        let kept = [next, prediction, .state(1)].prefix(options.order)
        return Move(updates: Array(kept), drawsNoise: options.algorithm.drawsNoise)
    }

    /// The length in λ of the step `age` before step `index`, in lengths of that step.
    private func ratio(_ index: Int, _ age: Int) -> Double {
        let past = levels[index - age + 1].lambda - levels[index - age].lambda
        return past / (levels[index + 1].lambda - levels[index].lambda)
    }
}

extension SchedulerVariant {
    /// A name for a DPM-Solver with these options.
    init(solver name: String, algorithm: String, type: String, order: Int) {
        self.init(
            name: name,
            options: [
                "algorithm_type": .string(algorithm), "solver_type": .string(type),
                "solver_order": .number(Double(order)),
            ])
    }
}

extension SolverOptions {
    /// "DPM++ 2M SDE Heun" and the like.
    var webLabel: String {
        let name = (algorithm.predictsClean ? "DPM++" : "DPM") + " \(order)M" + (algorithm.drawsNoise ? " SDE" : "")
        return usesHeun && algorithm.drawsNoise ? name + " Heun" : name
    }
}
