import CalderaGraph
import Foundation

/// The preconditioning of Karras et al. 2022 (table 1, column "Ours"), for models that were trained with it, as
/// Playground v2.5: x0 = c_skip·x + c_out·model(c_in·x, ln(σ)/4). The latent is variance-exploding: x = x0 + σ·ε.
struct Preconditioning: Sendable {
    private enum Schedule: String, CaseIterable {
        case karras
        case exponential
    }

    let minimum: Double
    let finalSigma: FinalSigma
    let prediction: PredictionType
    private let maximum: Double
    private let dataDeviation: Double
    private let rho: Double
    private let schedule: Schedule

    var initNoiseSigma: Double { (maximum * maximum + 1).squareRoot() }
    var scheduleType: String { schedule.rawValue.capitalized }

    /// Reads sigma_min, sigma_max, sigma_data, rho, sigma_schedule, prediction_type and final_sigmas_type.
    init(config: SchedulerConfig, for scheduler: any Scheduler.Type) throws {
        minimum = try config.level("sigma_min") ?? 0.002
        maximum = try config.level("sigma_max") ?? 80
        dataDeviation = try config.level("sigma_data") ?? 0.5
        rho = try config.level("rho") ?? 7
        schedule = try config.choice("sigma_schedule", default: .karras)
        finalSigma = try config.choice("final_sigmas_type", default: .zero)
        prediction = try config.prediction(of: scheduler, without: .sample)
        guard minimum < maximum else {
            throw config.error("sigma_min", "is \(minimum); it must be below sigma_max, \(maximum)")
        }
    }

    /// σ before each step, computed in the precision of `Real` as the diffusers class does.
    func sigmas<Real: BinaryFloatingPoint>(steps: Int, in _: Real.Type) throws -> [Double] {
        guard (1...1000).contains(steps) else {
            throw CalderaError.usage("The number of steps is \(steps); it must be from 1 to 1000")
        }
        guard schedule == .karras else {
            let logs = NoiseSchedule.torchLinspace(Float(log(minimum)), Float(log(maximum)), count: steps)
            return logs.reversed().map { Double(exp($0)) }
        }
        let (start, end) = (pow(maximum, 1 / rho), pow(minimum, 1 / rho))
        return NoiseSchedule.torchLinspace(Real(0), Real(1), count: steps).map { ramp in
            let root = Real(start) + ramp * Real(end - start)
            return Double(Real(pow(Double(root), rho)))
        }
    }

    /// The grid of these σ and the one after the last step.
    func grid(_ sigmas: [Double]) -> SamplingGrid {
        .exploding(
            timesteps: sigmas.dropLast().map { 0.25 * log($0) }, sigmas: sigmas, initNoiseSigma: initNoiseSigma)
    }

    func inputScale(_ sigma: Double) -> Double { 1 / total(sigma).squareRoot() }

    /// The predicted clean latents.
    func clean(_ sigma: Double) -> LinearForm {
        let skip = dataDeviation * dataDeviation / total(sigma)
        let scale = sigma * dataDeviation / total(sigma).squareRoot()
        return skip * .latent + (prediction == .velocity ? -scale : scale) * .modelOutput
    }

    private func total(_ sigma: Double) -> Double { sigma * sigma + dataDeviation * dataDeviation }
}

/// Euler's method for models with that preconditioning (Karras et al. 2022, algorithm 2 without churn), as diffusers'
/// EDMEulerScheduler.
package struct EDMEulerScheduler: Scheduler {
    package static let className = "EDMEulerScheduler"
    package static let shortNames = ["edm_euler"]
    package static let webLabel = "Euler"

    private let model: Preconditioning

    package var scheduleType: String? { model.scheduleType }

    package init(config: SchedulerConfig) throws {
        model = try Preconditioning(config: config, for: Self.self)
    }

    /// A list of sigmas is refused: what the diffusers class takes by that name are positions between 0 and 1.
    package func schedule(_ request: ScheduleRequest) throws -> Schedule {
        try request.refuseGrid(for: Self.self)
        let levels = try model.sigmas(steps: request.steps, in: Double.self)
        let sigmas = SigmaSpace.rounded(levels, final: model.finalSigma == .zero ? 0 : levels[levels.count - 1])
        return try model.grid(sigmas).schedule(for: Self.self, prediction: model.prediction, from: request) { index in
            let sigma = sigmas[index]
            let clean = model.clean(sigma)
            let derivative = (.latent - clean) / sigma
            return Move(
                inputScale: model.inputScale(sigma), updates: [.latent + (sigmas[index + 1] - sigma) * derivative],
                estimate: clean)
        }
    }
}

/// DPM-Solver++ for models with that preconditioning, as diffusers' EDMDPMSolverMultistepScheduler.
package struct EDMDPMSolverMultistepScheduler: Scheduler {
    package static let className = "EDMDPMSolverMultistepScheduler"
    package static let shortNames = ["edm_dpm_solver_multistep"]
    package static let webLabel = "DPM++ 2M"
    package static let variants = [
        SchedulerVariant(solver: "edm_dpmpp_2m", algorithm: "dpmsolver++", type: "midpoint", order: 2),
        SchedulerVariant(solver: "edm_dpmpp_2m_sde", algorithm: "sde-dpmsolver++", type: "midpoint", order: 2),
    ]

    private let model: Preconditioning
    private let options: SolverOptions
    private let orders: MultistepOrders

    package var scheduleType: String? { model.scheduleType }
    package var webLabel: String { options.webLabel }

    package init(config: SchedulerConfig) throws {
        model = try Preconditioning(config: config, for: Self.self)
        options = try SolverOptions(config: config)
        guard options.algorithm.predictsClean else {
            throw config.error(
                "algorithm_type", "is '\(options.algorithm.rawValue)', which \(Self.className) does not have")
        }
        try options.requireThirdOrder(of: [.clean, .deis], in: config)
        orders = try MultistepOrders(config: config, highest: options.order)
        try config.requireOff("thresholding")
    }

    package func schedule(_ request: ScheduleRequest) throws -> Schedule {
        try request.refuseGrid(for: Self.self)
        let levels = try model.sigmas(steps: request.steps, in: Float.self)
        let sigmas = SigmaSpace.rounded(levels, final: model.finalSigma == .zero ? 0 : model.minimum)
        let solver = MultistepSolver(options: options, levels: sigmas.map(SolverLevel.init(exploding:)))
        return try model.grid(sigmas).schedule(for: Self.self, prediction: model.prediction, from: request) { index in
            var move = solver.move(
                at: index, order: orders.order(at: index, of: request.steps, first: request.first),
                prediction: model.clean(sigmas[index]))
            move.inputScale = model.inputScale(sigmas[index])
            move.estimate = model.clean(sigmas[index])
            return move
        }
    }
}
