import Foundation

/// A point in time of DPM-Solver: x = signal·x0 + noise·ε, and λ = ln(signal/noise), in which its steps are measured.
struct SolverLevel: Sendable {
    let signal: Double
    let noise: Double
    let lambda: Double

    /// Variance-preserving latents at σ = noise/signal.
    init(preserving sigma: Double) {
        signal = 1 / (sigma * sigma + 1).squareRoot()
        noise = sigma * signal
        lambda = -log(sigma)
    }

    /// Variance-exploding latents, x0 + σ·ε.
    init(exploding sigma: Double) {
        signal = 1
        noise = sigma
        lambda = -log(sigma)
    }
}

/// What a DPM-Solver step extrapolates, and whether it adds noise.
enum SolverAlgorithm: String, CaseIterable, Sendable {
    /// Predicted noise (Lu et al. 2022, "DPM-Solver").
    case noise = "dpmsolver"
    /// Predicted clean latents (Lu et al. 2022, "DPM-Solver++").
    case clean = "dpmsolver++"
    case stochasticNoise = "sde-dpmsolver"
    case stochasticClean = "sde-dpmsolver++"
    /// Configurations of another class; diffusers uses dpmsolver++ for it.
    case deis

    var predictsClean: Bool { self != .noise && self != .stochasticNoise }
    var drawsNoise: Bool { self == .stochasticNoise || self == .stochasticClean }
}

/// How a step of second order is finished.
enum SolverType: String, CaseIterable, Sendable {
    case midpoint
    case heun
    /// Configurations of other classes; diffusers uses midpoint for them.
    case logRho = "logrho"
    case bh1
    case bh2
}

/// The factors of one DPM-Solver step over a length h in λ, as in the appendix of "DPM-Solver++":
/// x' = latent·x + constant·D0 + slope·D1 + curvature·D2 + noise·ε, where D0 is a prediction and D1 and D2 are its
/// first and second differences. `midpointSlope` is for D1 of the midpoint method.
struct SolverFactors {
    let latent: Double
    let constant: Double
    let midpointSlope: Double
    let slope: Double
    let curvature: Double
    let noise: Double

    init(_ algorithm: SolverAlgorithm, from start: SolverLevel, to end: SolverLevel) {
        let h = end.lambda - start.lambda
        switch algorithm {
        case .clean, .deis:
            let decay = expm1(-h)
            latent = end.noise / start.noise
            constant = -end.signal * decay
            midpointSlope = constant / 2
            slope = end.signal * (decay / h + 1)
            curvature = -end.signal * ((decay + h) / (h * h) - 0.5)
            noise = 0
        case .stochasticClean:
            let decay = -expm1(-2 * h)
            latent = end.noise / start.noise * exp(-h)
            constant = end.signal * decay
            midpointSlope = constant / 2
            slope = end.signal * (decay / (-2 * h) + 1)
            curvature = end.signal * ((decay - 2 * h) / (4 * h * h) - 0.5)
            noise = end.noise * decay.squareRoot()
        case .noise:
            let growth = expm1(h)
            latent = end.signal / start.signal
            constant = -end.noise * growth
            midpointSlope = constant / 2
            slope = -end.noise * (growth / h - 1)
            curvature = -end.noise * ((growth - h) / (h * h) - 0.5)
            noise = 0
        case .stochasticNoise:
            let growth = expm1(h)
            latent = end.signal / start.signal
            constant = -2 * end.noise * growth
            midpointSlope = -end.noise * growth
            slope = -2 * end.noise * (growth / h - 1)
            // Diffusers has no third order for this one.
            curvature = 0
            noise = end.noise * expm1(2 * h).squareRoot()
        }
    }
}

/// The options that the DPM-Solver classes share.
struct SolverOptions: Sendable {
    let algorithm: SolverAlgorithm
    let usesHeun: Bool
    let order: Int
    let finalSigma: FinalSigma

    /// Reads algorithm_type, solver_type, solver_order and final_sigmas_type.
    init(config: SchedulerConfig) throws {
        algorithm = try config.choice("algorithm_type", default: .clean)
        usesHeun = try config.choice("solver_type", default: SolverType.midpoint) == .heun
        order = try config.integer("solver_order", default: 2)
        finalSigma = try config.choice("final_sigmas_type", default: .zero)
        guard (1...3).contains(order) else { throw config.error("solver_order", "is \(order); it must be 1, 2 or 3") }
        guard algorithm.predictsClean || finalSigma == .sigmaMin else {
            throw config.error(
                "final_sigmas_type",
                "is 'zero', where \(algorithm.rawValue) has no step to; set it to 'sigma_min' or use dpmsolver++")
        }
    }

    /// Throws for a third-order step that diffusers does not have.
    func requireThirdOrder(of algorithms: Set<SolverAlgorithm>, in config: SchedulerConfig) throws {
        guard order < 3 || algorithms.contains(algorithm) else {
            throw config.error("solver_order", "is 3, which \(algorithm.rawValue) does not have; set it to 2")
        }
    }

    func factors(from start: SolverLevel, to end: SolverLevel) -> SolverFactors {
        SolverFactors(algorithm, from: start, to: end)
    }
}
