/// A value that is linear in what a sampling step knows: Σ states[i]·xᵢ + output·m + noise·ε, where x₀ is the latents,
/// x₁... are what earlier steps kept, m is the (guided) output of the model and ε fresh standard normal noise.
///
/// Schedulers write their formulas with these as papers do with vectors, and the coefficients fall out at the end.
package struct LinearForm: Sendable, Equatable {
    /// States beyond the last one have coefficient 0.
    package private(set) var states: [Double]
    package private(set) var output: Double
    package private(set) var noise: Double

    private init(states: [Double] = [], output: Double = 0, noise: Double = 0) {
        self.states = states
        self.output = output
        self.noise = noise
    }

    static let zero = LinearForm()
    /// The latents x₀ themselves.
    static let latent = state(0)
    /// The model's output m itself.
    static let modelOutput = LinearForm(output: 1)
    /// The noise ε itself.
    static let freshNoise = LinearForm(noise: 1)

    /// State `index` itself.
    static func state(_ index: Int) -> LinearForm {
        LinearForm(states: (0...index).map { $0 == index ? 1 : 0 })
    }

    /// The coefficient of state `index`.
    package func state(_ index: Int) -> Double { index < states.count ? states[index] : 0 }

    /// The states whose coefficients are not zero.
    var statesRead: [Int] { states.indices.filter { states[$0] != 0 } }

    var isFinite: Bool { (states + [output, noise]).allSatisfy(\.isFinite) }

    static func + (left: Self, right: Self) -> Self {
        let count = max(left.states.count, right.states.count)
        return Self(
            states: (0..<count).map { left.state($0) + right.state($0) }, output: left.output + right.output,
            noise: left.noise + right.noise)
    }

    static func - (left: Self, right: Self) -> Self { left + -1 * right }

    static func * (factor: Double, form: Self) -> Self {
        Self(states: form.states.map { factor * $0 }, output: factor * form.output, noise: factor * form.noise)
    }

    static func / (form: Self, divisor: Double) -> Self {
        Self(states: form.states.map { $0 / divisor }, output: form.output / divisor, noise: form.noise / divisor)
    }
}
