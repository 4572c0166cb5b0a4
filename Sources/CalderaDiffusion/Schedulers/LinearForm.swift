/// A value that is linear in the latent x and the model's output m: sample·x + output·m.
///
/// Schedulers write their formulas with these as papers do with vectors, and the coefficients fall out at the end.
struct LinearForm: Equatable {
    var sample: Double
    var output: Double

    /// The latent x itself.
    static let latent = LinearForm(sample: 1, output: 0)
    /// The model's output m itself.
    static let modelOutput = LinearForm(sample: 0, output: 1)

    static func + (left: Self, right: Self) -> Self {
        Self(sample: left.sample + right.sample, output: left.output + right.output)
    }

    static func - (left: Self, right: Self) -> Self {
        left + -1 * right
    }

    static func * (factor: Double, form: Self) -> Self {
        Self(sample: factor * form.sample, output: factor * form.output)
    }

    static func / (form: Self, divisor: Double) -> Self {
        Self(sample: form.sample / divisor, output: form.output / divisor)
    }
}
