import Foundation

/// How much noise the training added at each of its timesteps.
///
/// The tables are fp32 and are built with torch's own roundings, because every scheduler of diffusers starts from them
/// and small differences near zero signal grow large.
struct NoiseSchedule: Sendable {
    /// ᾱ_t, the share of signal variance left at timestep t; one per training timestep.
    let alphasCumprod: [Float]
    /// σ_t = sqrt((1 - ᾱ_t)/ᾱ_t), rising with t.
    let sigmas: [Float]
    let logSigmas: [Float]
    /// What the levels were computed with.
    let functions: SingleFunctions

    var trainSteps: Int { alphasCumprod.count }

    /// What a scheduler does with rescale_betas_zero_snr, which removes the signal at the last training timestep.
    enum ZeroSNR {
        /// The diffusers class does not know the key.
        case ignored
        /// ᾱ becomes 0 and σ infinite.
        case exact
        /// The last ᾱ is lifted to 2^-24 afterwards, so that σ stays finite.
        case lifted
    }

    /// The betas of a diffusers class where the configuration has none.
    struct Defaults {
        fileprivate let start: Double
        fileprivate let end: Double
        fileprivate let schedule: BetaSchedule

        /// Ho et al. 2020, "Denoising Diffusion Probabilistic Models".
        static let pixels = Defaults(start: 0.0001, end: 0.02, schedule: .linear)
        /// The second-order samplers of k-diffusion's family.
        static let secondOrder = Defaults(start: 0.00085, end: 0.012, schedule: .linear)
        /// Rombach et al. 2022, "High-Resolution Image Synthesis with Latent Diffusion Models".
        static let latents = Defaults(start: 0.00085, end: 0.012, schedule: .scaledLinear)
    }

    /// Reads num_train_timesteps, beta_start, beta_end, beta_schedule, trained_betas and, unless it is ignored,
    /// rescale_betas_zero_snr.
    init(config: SchedulerConfig, defaults: Defaults = .pixels, zeroSNR: ZeroSNR) throws {
        var betas = try Self.betas(config, defaults)
        let rescales = try zeroSNR != .ignored && config.flag("rescale_betas_zero_snr", default: false)
        if rescales { betas = Self.rescaledToZeroSNR(betas) }
        var alphas = Self.cumulativeProduct(betas.map { 1 - $0 })
        if rescales && zeroSNR == .lifted { alphas[alphas.count - 1] = 0x1p-24 }
        let functions = config.functions
        self.functions = functions
        alphasCumprod = alphas
        sigmas = alphas.map { functions.root((1 - $0) / $0) }
        logSigmas = sigmas.map { log($0) }
    }

    /// σ at a timestep that may lie between two training steps or beyond their ends, linearly interpolated in σ.
    func sigma(at timestep: Double) -> Double {
        let position = min(max(timestep, 0), Double(trainSteps - 1))
        let low = Int(position)
        let below = Double(sigmas[low])
        guard low + 1 < trainSteps else { return below }
        return below + (Double(sigmas[low + 1]) - below) * (position - Double(low))
    }

    // MARK: - Betas

    /// Whether beta_schedule names the cosine schedule.
    static func isSquaredCosine(_ config: SchedulerConfig) throws -> Bool {
        try config.choice("beta_schedule", default: BetaSchedule.linear) == .squaredCosine
    }

    fileprivate enum BetaSchedule: String, CaseIterable {
        case linear
        case scaledLinear = "scaled_linear"
        case squaredCosine = "squaredcos_cap_v2"
    }

    private static func betas(_ config: SchedulerConfig, _ defaults: Defaults) throws -> [Float] {
        let count = try config.trainSteps()
        if let trained = try config.numbers("trained_betas") {
            guard trained.count == count, trained.allSatisfy({ $0 > 0 && $0 < 1 }) else {
                throw config.error("trained_betas", "must hold \(count) numbers between 0 and 1")
            }
            return trained.map(Float.init)
        }
        let start = try unit(config, "beta_start", defaults.start)
        let end = try unit(config, "beta_end", defaults.end)
        switch try config.choice("beta_schedule", default: defaults.schedule) {
        case .linear:
            return torchLinspace(Float(start), Float(end), count: count)
        case .scaledLinear:
            return torchLinspace(Float(start.squareRoot()), Float(end.squareRoot()), count: count).map { $0 * $0 }
        case .squaredCosine:
            return squaredCosineBetas(count: count)
        }
    }

    private static func unit(_ config: SchedulerConfig, _ key: String, _ fallback: Double) throws -> Double {
        let value = try config.number(key, default: fallback)
        guard value > 0, value < 1 else { throw config.error(key, "is \(value); it must lie between 0 and 1") }
        return value
    }

    /// Nichol and Dhariwal 2021, "Improved Denoising Diffusion Probabilistic Models", equation 17.
    private static func squaredCosineBetas(count: Int) -> [Float] {
        func alphaBar(_ index: Int) -> Double {
            let cosine = cos((Double(index) / Double(count) + 0.008) / 1.008 * Double.pi / 2)
            return cosine * cosine
        }
        return (0..<count).map { Float(min(1 - alphaBar($0 + 1) / alphaBar($0), 0.999)) }
    }

    /// Lin et al. 2023, "Common Diffusion Noise Schedules and Sample Steps are Flawed", algorithm 1: shifts and scales
    /// sqrt(ᾱ) so that the last one is zero and the first one stays.
    private static func rescaledToZeroSNR(_ betas: [Float]) -> [Float] {
        var roots = cumulativeProduct(betas.map { 1 - $0 }).map { $0.squareRoot() }
        let (first, last) = (roots[0], roots[roots.count - 1])
        let scale = first / (first - last)
        roots = roots.map { ($0 - last) * scale }
        let alphasCumprod = roots.map { $0 * $0 }
        return alphasCumprod.indices.map { index in
            1 - (index == 0 ? alphasCumprod[0] : alphasCumprod[index] / alphasCumprod[index - 1])
        }
    }
}

extension NoiseSchedule {
    /// `torch.linspace`: from each end towards the middle, with one rounding per element.
    static func torchLinspace<Real: BinaryFloatingPoint>(_ start: Real, _ end: Real, count: Int) -> [Real] {
        guard count > 1 else { return [start] }
        let step = (end - start) / Real(count - 1)
        return (0..<count).map { index in
            index < count / 2
                ? start.addingProduct(step, Real(index))
                : end.addingProduct(-step, Real(count - 1 - index))
        }
    }

    /// `torch.cumprod` in fp32: accumulated in fp64, each product rounded.
    private static func cumulativeProduct(_ values: [Float]) -> [Float] {
        var product = 1.0
        return values.map { value in
            product *= Double(value)
            return Float(product)
        }
    }
}
