/// What the schedulers share whose latent is variance-exploding, x = x0 + σ·ε.
enum SigmaSpace {
    /// What turns such a latent into the unit-variance one that the model was trained on.
    static func inputScale(_ sigma: Double) -> Double {
        1 / (sigma * sigma + 1).squareRoot()
    }

    /// The scale of the first latent. Only leading spacing counts the unit variance of the picture itself, because its
    /// first level is well below the last one of the training.
    static func initNoiseSigma(_ sigmas: [Double], spacing: TimestepSpacing) -> Double {
        let maximum = sigmas.reduce(0, max)
        return spacing == .leading ? (maximum * maximum + 1).squareRoot() : maximum
    }
}
