import Foundation

/// Noise levels spaced evenly in σ^(1/ρ) (Karras et al. 2022, "Elucidating the Design Space of Diffusion-Based
/// Generative Models", equation 5), which puts most of the steps at low noise.
enum KarrasSigmas {
    private static let rho = 7.0

    /// `count` levels falling from `maximum` to `minimum`; a single one is `maximum`.
    static func levels(from maximum: Double, to minimum: Double, count: Int) -> [Double] {
        let start = pow(maximum, 1 / rho)
        let end = pow(minimum, 1 / rho)
        return (0..<count).map { index in
            let ramp = count == 1 ? 0 : Double(index) / Double(count - 1)
            return pow(start + ramp * (end - start), rho)
        }
    }
}

extension NoiseSchedule {
    /// The timestep at which the noise level is `sigma`, linearly interpolated in log σ and held at both ends.
    func timestep(ofSigma sigma: Double) -> Double {
        let logSigma = log(max(sigma, 1e-10))
        let reached = logSigmas.lastIndex { Double($0) <= logSigma } ?? 0
        let low = min(reached, trainSteps - 2)
        let (below, above) = (Double(logSigmas[low]), Double(logSigmas[low + 1]))
        let weight = min(max((below - logSigma) / (below - above), 0), 1)
        return (1 - weight) * Double(low) + weight * Double(low + 1)
    }
}
