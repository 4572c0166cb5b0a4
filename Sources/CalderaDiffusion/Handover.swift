import CalderaGraph

/// Where a refiner takes over from a base model: an ensemble of experts, each for its own noise levels.
/// Reference: diffusers `StableDiffusionXLPipeline.__call__` (`denoising_end`) and
/// `StableDiffusionXLImg2ImgPipeline.get_timesteps` (`denoising_start`).
struct Handover {
    /// The first timestep that is still the base model's.
    private let cutoff: Double

    /// - Parameter share: of the whole way, what the base model does.
    init(share: Double, trainSteps: Int) {
        cutoff = (Double(trainSteps) - share * Double(trainSteps)).rounded(.toNearestOrEven)
    }

    /// How many evaluations the base model makes. Throws a usage error where none are left for it.
    func count(in schedule: Schedule) throws -> Int {
        let count = schedule.timesteps.filter { Double($0) >= cutoff }.count
        guard count > 0 else {
            throw CalderaError.usage("The refiner would start before the first step: choose a larger --refiner-start.")
        }
        return count
    }

    /// The refiner's first evaluation in its full schedule. Throws a usage error where none are left for it.
    func first(in schedule: Schedule) throws -> Int {
        var count = schedule.timesteps.filter { Double($0) < cutoff }.count
        guard count > 0 else {
            throw CalderaError.usage(
                "No step is left for the refiner: choose a smaller --refiner-start or more --steps.")
        }
        // A second-order scheduler visits each level but the first twice; a step must not be cut in its middle.
        if schedule.order == 2, count.isMultiple(of: 2) { count += 1 }
        return max(0, schedule.steps.count - count)
    }
}

extension PipelineParts {
    /// The schedule of a request: all of it, the part behind `strength` where a picture is given, or from the evaluation
    /// on that `first` picks of the whole.
    package func schedule(
        _ request: PipelineRequest, first: ((Schedule) throws -> Int)? = nil
    ) throws -> Schedule {
        let scheduler = try scheduler(for: request)
        var wanted = ScheduleRequest(steps: request.steps, grid: request.grid?.withoutFinalZero)
        let whole = try scheduler.schedule(wanted)
        if let first {
            wanted.first = try first(whole)
        } else if let strength = request.source?.strength {
            wanted.first = try Self.skippedSteps(wanted, strength: strength) * whole.order
        }
        return wanted.first == 0 ? whole : try scheduler.schedule(wanted)
    }

    /// The scheduler that a request names, or the model's own. diffusers' pipelines pass an η of 0 where none is asked for,
    /// whatever the class would take on its own.
    package func scheduler(for request: PipelineRequest) throws -> any Scheduler {
        let options = ["eta": SchedulerConfig.Value.number(request.eta ?? 0)]
        return try SchedulerRegistry.make(name: request.scheduler, config: scheduler.overriding(options))
    }

    func trainSteps() throws -> Int { try scheduler.trainSteps() }

    /// Steps before the level to which a picture is noised (diffusers `get_timesteps`).
    private static func skippedSteps(_ request: ScheduleRequest, strength: Double) throws -> Int {
        let steps = request.count
        let kept = min(Int(Double(steps) * strength), steps)
        guard kept >= 1 else {
            throw CalderaError.usage(
                "A strength of \(strength) leaves none of the \(steps) steps: use a larger strength or more steps.")
        }
        return steps - kept
    }
}

extension ScheduleRequest.CustomGrid {
    /// Lists of σ are written with and without the 0 at their end.
    fileprivate var withoutFinalZero: Self {
        guard case .sigmas(let list) = self, list.count > 1, list.last == 0 else { return self }
        return .sigmas(Array(list.dropLast()))
    }
}

extension ScheduleRequest {
    /// Steps of the whole way: those of the custom grid, where there is one.
    fileprivate var count: Int {
        switch grid {
        case .timesteps(let list): list.count
        case .sigmas(let list): list.count
        case nil: steps
        }
    }
}
