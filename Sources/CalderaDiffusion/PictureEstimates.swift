/// What each step of a schedule believes the finished picture to be, for previews.
extension Schedule {
    /// For each step the predicted clean latents, as a form in the latents before the step and the model's output:
    /// with latents i·x0 + n·ε, x0 = (x - n·ε)/i, where ε follows from the output by the prediction type.
    var pictureEstimates: [LinearForm] {
        let before = [start] + steps.map(\.level)
        return zip(steps, before).map { prediction.estimate($1) }
    }
}

extension PredictionType {
    fileprivate func estimate(_ level: NoiseLevel) -> LinearForm {
        let scale = (level.image * level.image + level.noise * level.noise).squareRoot()
        let (signal, noise) = (level.image / scale, level.noise / scale)
        switch self {
        case .epsilon: return signal > 0 ? (.latent / scale - noise * .modelOutput) / signal : .zero
        case .velocity: return (signal / scale) * .latent - noise * .modelOutput
        case .sample: return .modelOutput
        }
    }
}
