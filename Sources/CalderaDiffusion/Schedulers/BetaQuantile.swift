import Foundation

/// Quantiles of the Beta(0.6, 0.6) distribution, accurate to 1e-12.
enum BetaQuantile {
    private static let shape = 0.6
    /// Twice the integral to the middle, by symmetry: the complete beta function B(0.6, 0.6).
    private static let complete = 2 * lowerIntegral(power: pow(0.5, shape))

    /// The x below which a share `probability` of the distribution lies.
    static func symmetric(_ probability: Double) -> Double {
        if probability > 0.5 { return 1 - symmetric(1 - probability) }
        guard probability > 0 else { return 0 }
        // Bisection in x^a, in which the distribution function is nearly a straight line below the middle.
        var (low, high) = (0.0, pow(0.5, shape))
        for _ in 0..<54 {
            let middle = (low + high) / 2
            if lowerIntegral(power: middle) < probability * complete { low = middle } else { high = middle }
        }
        return pow((low + high) / 2, 1 / shape)
    }

    /// The incomplete beta function B(x; a, a) for x <= 1/2 from `power` = x^a, by its power series
    /// x^a·Σ (1 - a)ₙ/(n!·(a + n))·xⁿ (Abramowitz and Stegun 26.5.4), whose terms fall at least by half each.
    private static func lowerIntegral(power: Double) -> Double {
        let x = pow(power, 1 / shape)
        var factor = 1.0
        var sum = 1 / shape
        for index in 1...60 {
            factor *= (Double(index) - shape) / Double(index) * x
            sum += factor / (shape + Double(index))
        }
        return power * sum
    }
}
