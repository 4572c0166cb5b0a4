/// What the model was trained to predict, as `prediction_type` names it.
enum PredictionType: String, CaseIterable, Sendable {
    /// The noise ε.
    case epsilon
    /// The velocity v = sqrt(ᾱ)·ε - sqrt(1 - ᾱ)·x0 (Salimans and Ho 2022, "Progressive Distillation").
    case velocity = "v_prediction"
    /// The clean latent x0.
    case sample

    /// The predicted clean latent for a variance-exploding latent x = x0 + σ·ε, the space of the Euler family.
    func clean(sigma: Double) -> LinearForm {
        let (x, m) = (LinearForm.latent, LinearForm.modelOutput)
        let total = sigma * sigma + 1
        switch self {
        case .epsilon: return x - sigma * m
        case .velocity: return x / total - (sigma / total.squareRoot()) * m
        case .sample: return m
        }
    }

    /// The predicted clean latent for a latent i·x0 + n·ε of any scale; zero where that would need a division by i = 0.
    func clean(_ level: NoiseLevel) -> LinearForm {
        let scale = (level.image * level.image + level.noise * level.noise).squareRoot()
        let (signal, noise) = (level.image / scale, level.noise / scale)
        switch self {
        case .epsilon: return signal > 0 ? (.latent / scale - noise * .modelOutput) / signal : .zero
        case .velocity: return (signal / scale) * .latent - noise * .modelOutput
        case .sample: return .modelOutput
        }
    }

    /// The predicted clean latent and noise for a variance-preserving latent x = sqrt(ᾱ)·x0 + sqrt(1 - ᾱ)·ε.
    func cleanAndNoise(alphaCumprod: Double) -> (clean: LinearForm, noise: LinearForm) {
        cleanAndNoise(.preserving(alphaCumprod))
    }

    /// The same where the latent is given by σ = sqrt((1 - ᾱ)/ᾱ).
    func cleanAndNoise(sigma: Double) -> (clean: LinearForm, noise: LinearForm) {
        cleanAndNoise(.preserving(sigma: sigma))
    }

    private func cleanAndNoise(_ level: NoiseLevel) -> (clean: LinearForm, noise: LinearForm) {
        let (x, m) = (LinearForm.latent, LinearForm.modelOutput)
        switch self {
        case .epsilon: return ((x - level.noise * m) / level.image, m)
        case .velocity: return (level.image * x - level.noise * m, level.image * m + level.noise * x)
        case .sample: return (m, (x - level.image * m) / level.noise)
        }
    }
}
