/// DPM-Solver and DPM-Solver++ in groups of steps that start anew from the same latents (Lu et al. 2022, "DPM-Solver++",
/// algorithm 1), as diffusers' DPMSolverSinglestepScheduler.
/// The latent is variance-preserving: x = sqrt(ᾱ)·x0 + sqrt(1 - ᾱ)·ε.
package struct DPMSolverSinglestepScheduler: Scheduler {
    package static let className = "DPMSolverSinglestepScheduler"
    package static let shortNames = ["dpmpp_2s", "dpm_solver_singlestep"]
    package static let webLabel = "DPM++ 2S"
    package static let takesSigmaFamilies = true

    private let grid: SolverGrid
    private let prediction: PredictionType
    private let options: SolverOptions
    private let lowersAtEnd: Bool

    package var scheduleType: String? { grid.spacing.family?.label }

    package init(config: SchedulerConfig) throws {
        options = try SolverOptions(config: config)
        guard options.algorithm != .stochasticNoise else {
            throw config.error(
                "algorithm_type", "is 'sde-dpmsolver', which \(Self.className) does not have; use 'sde-dpmsolver++'")
        }
        lowersAtEnd = try config.flag("lower_order_final", default: false)
        let whole = TimestepGrid(spacing: .linspace, trainSteps: try config.trainSteps())
        grid = try SolverGrid(config: config, zeroSNR: .ignored, grid: whole)
        prediction = try config.prediction(of: Self.self)
        try config.requireOff("thresholding")
    }

    package func schedule(_ request: ScheduleRequest) throws -> Schedule {
        let given = try grid.levels(request, for: Self.self)
        let final = options.finalSigma == .zero ? 0 : Double(grid.noise.sigmas[0])
        let sigmas = SigmaSpace.rounded(given.sigmas, final: final)
        let sampling = SamplingGrid.preserving(timesteps: given.timesteps, sigmas: sigmas)
        let levels = sigmas.map(SolverLevel.init(preserving:))
        let orders = orders(steps: given.timesteps.count)
        return try sampling.schedule(for: Self.self, prediction: prediction, from: request) { index in
            let (clean, noise) = prediction.cleanAndNoise(sigma: sigmas[index])
            return move(
                at: index, order: min(orders[index], index - request.first + 1),
                prediction: options.algorithm.predictsClean ? clean : noise, levels)
        }
    }

    /// Groups of orders 1 to `solver_order`, the last cut short so that it ends with the last step.
    private func orders(steps: Int) -> [Int] {
        // Diffusers turns lower_order_final on where the groups would not come out even or the last would divide by 0.
        let lowers = lowersAtEnd || steps % options.order != 0 || options.finalSigma == .zero
        var orders = (0..<steps).map { $0 % options.order + 1 }
        if lowers && options.order == 3 && steps % 3 == 0 { orders[steps - 1] = 1 }
        if lowers && options.order == 2 && steps % 2 == 0 { orders[steps - 1] = 1 }
        if options.finalSigma == .zero { orders[steps - 1] = 1 }
        return orders
    }

    /// State 1 keeps the latents at the start of the group, states 2 and 3 the predictions of the steps before.
    private func move(at index: Int, order: Int, prediction: LinearForm, _ levels: [SolverLevel]) -> Move {
        let (start, end) = (levels[index - order + 1], levels[index + 1])
        let factors = options.factors(from: start, to: end)
        let length = end.lambda - start.lambda
        let (first, origin) = order == 1 ? (LinearForm.latent, prediction) : (.state(1), .state(order))
        var next = factors.latent * first + factors.constant * origin
        if order == 2 {
            let slope = (length / (levels[index].lambda - start.lambda)) * (prediction - origin)
            next = next + (options.usesHeun ? factors.slope : factors.midpointSlope) * slope
        } else if order == 3 {
            let r0 = (levels[index].lambda - start.lambda) / length
            let r1 = (levels[index - 1].lambda - start.lambda) / length
            let (inner, outer) = ((.state(2) - origin) / r1, (prediction - origin) / r0)
            next = next + factors.slope * (options.usesHeun ? (r0 * inner - r1 * outer) / (r0 - r1) : outer)
            if options.usesHeun { next = next + (2 * factors.curvature / (r0 - r1)) * (outer - inner) }
        }
        if options.algorithm.drawsNoise { next = next + factors.noise * .freshNoise }
        return Move(updates: [next, first, prediction, .state(2)], drawsNoise: options.algorithm.drawsNoise)
    }
}
