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

    /// The predicted clean latent and noise for a variance-preserving latent x = sqrt(ᾱ)·x0 + sqrt(1 - ᾱ)·ε.
    func cleanAndNoise(alphaCumprod: Double) -> (clean: LinearForm, noise: LinearForm) {
        let (x, m) = (LinearForm.latent, LinearForm.modelOutput)
        let (signal, noise) = (alphaCumprod.squareRoot(), (1 - alphaCumprod).squareRoot())
        switch self {
        case .epsilon: return ((x - noise * m) / signal, m)
        case .velocity: return (signal * x - noise * m, signal * m + noise * x)
        case .sample: return (m, (x - signal * m) / noise)
        }
    }
}
