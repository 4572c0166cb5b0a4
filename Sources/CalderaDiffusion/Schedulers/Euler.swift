import CalderaGraph
import Foundation

/// Euler's method on the probability-flow equation in σ (Karras et al. 2022, algorithm 2 without churn), as diffusers'
/// EulerDiscreteScheduler. The latent is variance-exploding: x = x0 + σ·ε.
package struct EulerScheduler: Scheduler {
    package static let className = "EulerDiscreteScheduler"
    package static let shortNames = ["euler"]
    package static let webLabel = "Euler"
    package static let takesSigmaFamilies = true

    private enum Interpolation: String, CaseIterable {
        case linear
        case logLinear = "log_linear"
    }
    private enum TimestepType: String, CaseIterable {
        case discrete
    }

    private let spaced: SpacedSigmas
    private let prediction: PredictionType
    private let interpolation: Interpolation
    private let finalSigma: FinalSigma

    package var scheduleType: String? { spaced.scheduleType }

    package init(config: SchedulerConfig) throws {
        spaced = try SpacedSigmas(config: config, zeroSNR: .lifted)
        prediction = try config.prediction(of: Self.self)
        interpolation = try config.choice("interpolation_type", default: .linear)
        finalSigma = try config.choice("final_sigmas_type", default: .zero)
        _ = try config.choice("timestep_type", default: TimestepType.discrete)
    }

    package func schedule(_ request: ScheduleRequest) throws -> Schedule {
        let (timesteps, sigmas) = try levels(request)
        let grid = SamplingGrid.exploding(
            timesteps: timesteps, sigmas: sigmas,
            initNoiseSigma: SigmaSpace.initNoiseSigma(sigmas, spacing: spaced.grid.spacing))
        return try grid.schedule(for: Self.self, prediction: prediction, from: request) { index in
            let sigma = sigmas[index]
            let derivative = (.latent - prediction.clean(sigma: sigma)) / sigma
            return Move(
                inputScale: SigmaSpace.inputScale(sigma),
                updates: [.latent + (sigmas[index + 1] - sigma) * derivative])
        }
    }

    /// The timesteps, and σ before each step and after the last.
    private func levels(_ request: ScheduleRequest) throws -> (timesteps: [Double], sigmas: [Double]) {
        if case .sigmas(let sigmas) = request.grid {
            let rounded = try SigmaSpace.rounded(checked(sigmas))
            return (rounded.dropLast().map(spaced.noise.timestep(ofSingleSigma:)), rounded)
        }
        let final = finalSigma == .zero ? 0 : Double(spaced.noise.sigmas[0])
        let timesteps = try spaced.timesteps(request, for: Self.self)
        guard interpolation == .logLinear else {
            let levels = try spaced.levels(request, for: Self.self)
            return (levels.timesteps, SigmaSpace.rounded(levels.sigmas, final: final))
        }
        // These levels already hold the one after the last step; diffusers appends another that it never uses.
        let logSigmas = spaced.noise.logSigmas
        let ends = (logSigmas[logSigmas.count - 1], logSigmas[0])
        let sigmas = NoiseSchedule.torchLinspace(ends.0, ends.1, count: timesteps.count + 1).map { Double(exp($0)) }
        let levels = spaced.respaced(timesteps, sigmas: sigmas)
        return (levels.timesteps, Array(SigmaSpace.rounded(levels.sigmas, final: final).prefix(timesteps.count + 1)))
    }

    private func checked(_ sigmas: [Double]) throws -> [Double] {
        guard !sigmas.isEmpty, sigmas.allSatisfy({ $0 > 0 && $0 <= 1e6 }) else {
            throw CalderaError.usage(
                "The list of sigmas must hold numbers above 0 and at most 1000000; the final 0 is added to it")
        }
        guard zip(sigmas, sigmas.dropFirst()).allSatisfy(>) else {
            throw CalderaError.usage("The list of sigmas must fall from each one to the next")
        }
        return sigmas
    }
}
