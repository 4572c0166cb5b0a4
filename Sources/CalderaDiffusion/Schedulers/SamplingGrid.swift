import CalderaGraph

/// What one evaluation of the model changes, before it is placed in time.
struct Move {
    var inputScale = 1.0
    /// The next value of each state. A state that no later move reads need not be kept up; it is dropped.
    var updates: [LinearForm]
    var drawsNoise = false
    var brownian: BrownianSpan?
    /// The clean latents that the model's output stands for, where they do not follow from the grid's level: between two
    /// of its points, or by a preconditioning.
    var estimate: LinearForm?
}

/// The evaluations that lie on the whole way from noise to picture, and what the latents hold before each of them.
struct SamplingGrid {
    let timesteps: [Double]
    /// `add_noise` at each of the evaluations.
    let levels: [NoiseLevel]
    /// One more than evaluations.
    let sigmas: [Double]
    var initNoiseSigma = 1.0
    /// Evaluations of one full step.
    var order = 1

    /// A grid for variance-exploding latents, with one σ for each evaluation and one after the last.
    static func exploding(timesteps: [Double], sigmas: [Double], initNoiseSigma: Double, order: Int = 1) -> SamplingGrid
    {
        SamplingGrid(
            timesteps: timesteps, levels: sigmas.prefix(timesteps.count).map(NoiseLevel.exploding), sigmas: sigmas,
            initNoiseSigma: initNoiseSigma, order: order)
    }

    /// A grid for variance-preserving latents, with one σ for each evaluation and one after the last.
    static func preserving(timesteps: [Double], sigmas: [Double]) -> SamplingGrid {
        SamplingGrid(
            timesteps: timesteps, levels: sigmas.prefix(timesteps.count).map(NoiseLevel.preserving(sigma:)),
            sigmas: sigmas)
    }

    /// A grid for variance-preserving latents on training timesteps, which ends at a signal variance of `final`.
    static func preserving(timesteps: [Int], noise: NoiseSchedule, final: Double) -> SamplingGrid {
        let alphas = timesteps.map { Double(noise.alphasCumprod[$0]) }
        return SamplingGrid(
            timesteps: timesteps.map(Double.init), levels: alphas.map(NoiseLevel.preserving(_:)),
            sigmas: (alphas + [final]).map { ((1 - $0) / $0).squareRoot() })
    }

    /// The table of the evaluations that `request` asks for; `move` is given the index of each, in order.
    func schedule(
        for scheduler: any Scheduler.Type, prediction: PredictionType, from request: ScheduleRequest,
        move: (Int) -> Move
    ) throws -> Schedule {
        guard timesteps.indices.contains(request.first) else {
            throw CalderaError.usage(
                "No steps are left: the loop should start at evaluation \(request.first) of \(timesteps.count); use more "
                    + "steps or a larger strength.")
        }
        guard request.first % order == 0 else {
            throw CalderaError.usage(
                "\(scheduler.className) evaluates the model \(order) times in each step and cannot start within one, at "
                    + "evaluation \(request.first); start at a multiple of \(order)")
        }
        let range = request.first..<timesteps.count
        return try Schedule(
            scheduler: scheduler, prediction: prediction,
            steps: zip(range, Self.pruned(range.map(move))).map { placed($0, $1, prediction) },
            initNoiseSigma: initNoiseSigma, start: levels[request.first], sigmas: Array(sigmas[request.first...]),
            order: order)
    }

    private func placed(_ index: Int, _ move: Move, _ prediction: PredictionType) -> StepCoefficients {
        StepCoefficients(
            timestep: Float(timesteps[index]), inputScale: move.inputScale, updates: move.updates,
            drawsNoise: move.drawsNoise, brownian: move.brownian,
            level: index + 1 < levels.count ? levels[index + 1] : .clean,
            estimate: move.estimate ?? prediction.clean(levels[index]))
    }

    /// Drops the states that no later move reads, so that the device neither keeps nor computes them.
    private static func pruned(_ moves: [Move]) -> [Move] {
        // Only the latents are read after the last move.
        var read: Set<Int> = [0]
        var result: [Move] = []
        for var move in moves.reversed() {
            let kept = move.updates.indices.last(where: read.contains) ?? 0
            let updates = move.updates.prefix(kept + 1).enumerated().map { read.contains($0) ? $1 : .zero }
            move.updates = updates
            // The model reads the latents.
            read = updates.reduce(into: [0]) { $0.formUnion($1.statesRead) }
            result.append(move)
        }
        return result.reversed()
    }
}
