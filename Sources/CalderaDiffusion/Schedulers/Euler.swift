import Foundation

/// Euler's method on the probability-flow equation in σ (Karras et al. 2022, algorithm 2 without churn), as diffusers'
/// EulerDiscreteScheduler. The latent is variance-exploding: x = x0 + σ·ε.
package struct EulerScheduler: Scheduler {
    package static let className = "EulerDiscreteScheduler"
    package static let shortNames = ["euler"]
    package static let webLabel = "Euler"

    private enum Interpolation: String, CaseIterable {
        case linear
        case logLinear = "log_linear"
    }
    private enum FinalSigma: String, CaseIterable {
        case zero
        case sigmaMin = "sigma_min"
    }
    private enum TimestepType: String, CaseIterable {
        case discrete
    }

    private let noise: NoiseSchedule
    private let grid: TimestepGrid
    private let prediction: PredictionType
    private let interpolation: Interpolation
    private let finalSigma: FinalSigma
    /// The ends of the Karras levels, where the configuration sets them; nil without Karras levels.
    private let karras: (minimum: Double?, maximum: Double?)?

    package var scheduleType: String? { karras == nil ? nil : "Karras" }

    package init(config: SchedulerConfig) throws {
        noise = try NoiseSchedule(config: config, finiteSigmas: true)
        grid = try TimestepGrid(config: config, defaultSpacing: .linspace)
        prediction = try config.choice("prediction_type", default: .epsilon)
        interpolation = try config.choice("interpolation_type", default: .linear)
        finalSigma = try config.choice("final_sigmas_type", default: .zero)
        _ = try config.choice("timestep_type", default: TimestepType.discrete)
        try config.requireOff("use_exponential_sigmas", "use_beta_sigmas")
        let usesKarras = try config.flag("use_karras_sigmas", default: false)
        karras = usesKarras ? (try config.level("sigma_min"), try config.level("sigma_max")) : nil
    }

    package func schedule(_ request: ScheduleRequest) throws -> Schedule {
        let (timesteps, sigmas) = try levels(steps: request.steps)
        let table = zip(timesteps, zip(sigmas, sigmas.dropFirst())).map { timestep, levels in
            let (sigma, next) = levels
            let derivative = (.latent - prediction.clean(sigma: sigma)) / sigma
            return StepCoefficients(
                timestep: timestep, inputScale: SigmaSpace.inputScale(sigma),
                updates: [.latent + (next - sigma) * derivative], level: .exploding(next))
        }
        return try Schedule(
            scheduler: Self.self, prediction: prediction, steps: request.remaining(table),
            initNoiseSigma: SigmaSpace.initNoiseSigma(sigmas, spacing: grid.spacing),
            start: .exploding(sigmas[request.first]), sigmas: Array(sigmas[request.first...]))
    }

    /// The timesteps, and σ before each step and after the last, rounded to fp32 as diffusers keeps them.
    private func levels(steps: Int) throws -> (timesteps: [Float], sigmas: [Double]) {
        var timesteps = try grid.fractional(steps: steps)
        var sigmas = timesteps.map(noise.sigma)
        if interpolation == .logLinear {
            let ends = (noise.logSigmas[noise.trainSteps - 1], noise.logSigmas[0])
            sigmas = NoiseSchedule.torchLinspace(ends.0, ends.1, count: steps + 1).map { Double(exp($0)) }
        }
        if let karras {
            let maximum = karras.maximum ?? sigmas[0]
            let minimum = karras.minimum ?? sigmas[sigmas.count - 1]
            sigmas = KarrasSigmas.levels(from: maximum, to: minimum, count: steps)
            timesteps = sigmas.map { Float(noise.timestep(ofSigma: $0)) }
        }
        // The log-linear levels already hold the one after the last step; diffusers appends another that it never uses.
        sigmas.append(finalSigma == .zero ? 0 : Double(noise.sigmas[0]))
        return (timesteps, sigmas.prefix(steps + 1).map { Double(Float($0)) })
    }
}

extension SchedulerConfig {
    /// A positive noise level, or nil where the key is missing or null.
    fileprivate func level(_ key: String) throws -> Double? {
        guard let level = try number(key) else { return nil }
        guard level > 0 else { throw error(key, "is \(level); it must be above 0") }
        return level
    }
}
