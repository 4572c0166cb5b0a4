/// The linear multistep method of order 4 on the probability-flow equation in σ (Katherine Crowson's `sample_lms` in
/// k-diffusion), as diffusers' LMSDiscreteScheduler: the slope is extrapolated by the polynomial through the last four.
/// The latent is variance-exploding: x = x0 + σ·ε.
package struct LMSScheduler: Scheduler {
    package static let className = "LMSDiscreteScheduler"
    package static let shortNames = ["lms"]
    package static let webLabel = "LMS"
    package static let takesSigmaFamilies = true

    private static let highestOrder = 4

    private let spaced: SpacedSigmas
    private let prediction: PredictionType

    package var scheduleType: String? { spaced.scheduleType }

    package init(config: SchedulerConfig) throws {
        spaced = try SpacedSigmas(config: config, zeroSNR: .ignored, karrasTakesLimits: false)
        prediction = try config.prediction(of: Self.self)
    }

    package func schedule(_ request: ScheduleRequest) throws -> Schedule {
        try request.refuseGrid(for: Self.self)
        let levels = try spaced.levels(request, for: Self.self)
        let sigmas = SigmaSpace.rounded(levels.sigmas)
        let grid = SamplingGrid.exploding(
            timesteps: levels.timesteps, sigmas: sigmas,
            initNoiseSigma: SigmaSpace.initNoiseSigma(sigmas, spacing: spaced.grid.spacing))
        return try grid.schedule(for: Self.self, prediction: prediction, from: request) { index in
            let derivative = (.latent - prediction.clean(sigma: sigmas[index])) / sigmas[index]
            let slopes = [derivative] + (1..<Self.highestOrder).map { LinearForm.state($0) }
            // The order counts all steps of the grid, those before the first evaluation too; their slopes are missing
            // from the sum then, which is what the diffusers class does.
            let order = min(index + 1, Self.highestOrder)
            let known = min(index - request.first + 1, order)
            let change = (0..<known).reduce(LinearForm.zero) { sum, age in
                sum + Self.weight(ofAge: age, order: order, at: index, sigmas) * slopes[age]
            }
            return Move(
                inputScale: SigmaSpace.inputScale(sigmas[index]), updates: [.latent + change] + slopes.dropLast())
        }
    }

    /// The integral from σ at `step` to the next of the Lagrange polynomial that is 1 where the slope of that age was
    /// taken and 0 at the others. Its degree is at most 3, for which Gauss' rule with two points is exact.
    private static func weight(ofAge age: Int, order: Int, at step: Int, _ sigmas: [Double]) -> Double {
        let (start, end) = (sigmas[step], sigmas[step + 1])
        let (middle, half) = ((start + end) / 2, (end - start) / 2)
        let offset = half / 3.0.squareRoot()
        let values = [middle - offset, middle + offset].map { point in
            (0..<order).filter { $0 != age }.reduce(1.0) { product, other in
                product * (point - sigmas[step - other]) / (sigmas[step - age] - sigmas[step - other])
            }
        }
        return half * (values[0] + values[1])
    }
}
