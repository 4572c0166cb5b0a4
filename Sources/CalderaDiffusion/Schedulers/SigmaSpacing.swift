import Foundation

/// How the noise levels between a highest and a lowest one are spaced, instead of following the timesteps.
enum SigmaFamily: String, CaseIterable, Sendable {
    /// Evenly in σ^(1/7) (Karras et al. 2022, "Elucidating the Design Space of Diffusion-Based Generative Models",
    /// equation 5), which puts most of the steps at low noise.
    case karras
    /// Evenly in log σ.
    case exponential
    /// At the quantiles of a Beta(0.6, 0.6) distribution, dense at both ends (Lee et al. 2024, "Beta Sampling is All
    /// You Need").
    case beta

    /// The flag of scheduler_config.json that chooses it.
    var key: String { "use_\(rawValue)_sigmas" }
    /// What the web UI calls it.
    var label: String { rawValue.capitalized }

    /// `count` levels falling from `maximum` to `minimum`; a single one is `maximum`.
    func levels(from maximum: Double, to minimum: Double, count: Int) -> [Double] {
        (0..<count).map { index in
            let ramp = count == 1 ? 0 : Double(index) / Double(count - 1)
            switch self {
            case .karras: return Self.karrasLevel(at: ramp, from: maximum, to: minimum, rho: 7)
            case .exponential: return exp(log(maximum) + ramp * (log(minimum) - log(maximum)))
            case .beta: return minimum + BetaQuantile.symmetric(1 - ramp) * (maximum - minimum)
            }
        }
    }

    /// The Karras level at `ramp` of the way, 0...1.
    static func karrasLevel(at ramp: Double, from maximum: Double, to minimum: Double, rho: Double) -> Double {
        let (start, end) = (pow(maximum, 1 / rho), pow(minimum, 1 / rho))
        return pow(start + ramp * (end - start), rho)
    }
}

/// The family of noise levels that a configuration asks for, and the ends that it may set for them.
struct SigmaSpacing: Sendable {
    /// Nil where the levels follow the timesteps.
    let family: SigmaFamily?
    private let minimum: Double?
    private let maximum: Double?

    /// Reads use_karras_sigmas, use_exponential_sigmas, use_beta_sigmas, sigma_min and sigma_max.
    ///
    /// - Parameter karrasTakesLimits: whether Karras levels heed sigma_min and sigma_max, which two classes of diffusers
    ///   only do for the other families.
    init(config: SchedulerConfig, karrasTakesLimits: Bool = true) throws {
        let chosen = try SigmaFamily.allCases.filter { try config.flag($0.key, default: false) }
        if chosen.count > 1 {
            throw config.error(chosen[1].key, "is true beside \(chosen[0].key); set only one of them")
        }
        family = chosen.first
        let takesLimits = family != nil && (karrasTakesLimits || family != .karras)
        minimum = takesLimits ? try config.level("sigma_min") : nil
        maximum = takesLimits ? try config.level("sigma_max") : nil
    }

    /// `count` levels between the ends that the configuration sets or else the given ones; nil without a family.
    func levels(from highest: Double, to lowest: Double, count: Int) -> [Double]? {
        family?.levels(from: maximum ?? highest, to: minimum ?? lowest, count: count)
    }
}

extension SchedulerConfig {
    /// A positive noise level, or nil where the key is missing or null.
    func level(_ key: String) throws -> Double? {
        guard let level = try number(key) else { return nil }
        guard level > 0, level.isFinite else { throw error(key, "is \(level); it must be above 0 and finite") }
        return level
    }
}

/// The level after the last step.
enum FinalSigma: String, CaseIterable, Sendable {
    case zero
    case sigmaMin = "sigma_min"
}

extension NoiseSchedule {
    /// The timestep at which the noise level is `sigma`, linearly interpolated in log σ and held at both ends.
    func timestep(ofSigma sigma: Double) -> Double {
        timestep(ofLogSigma: log(max(sigma, 1e-10)))
    }

    /// The same computed in fp32, as diffusers does where it knows the level as a tensor.
    func timestep(ofSingleSigma sigma: Double) -> Double {
        Double(timestep(ofLogSigma: Float(log(max(sigma, 1e-10)))))
    }

    private func timestep<Real: BinaryFloatingPoint>(ofLogSigma logSigma: Real) -> Real {
        let reached = logSigmas.lastIndex { Real($0) <= logSigma } ?? 0
        let low = min(reached, trainSteps - 2)
        let (below, above) = (Real(logSigmas[low]), Real(logSigmas[low + 1]))
        let weight = min(max((below - logSigma) / (below - above), 0), 1)
        return (1 - weight) * Real(low) + weight * Real(low + 1)
    }
}
