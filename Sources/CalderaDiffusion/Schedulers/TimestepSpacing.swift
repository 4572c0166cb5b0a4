import CalderaGraph

/// Which training timesteps a schedule visits, after table 2 of Lin et al. 2023, "Common Diffusion Noise Schedules and
/// Sample Steps are Flawed". Timesteps fall from noise to picture.
enum TimestepSpacing: String, CaseIterable, Sendable {
    /// Evenly from the last training timestep to the first, both included.
    case linspace
    /// Multiples of the whole quotient of training steps and steps, plus steps_offset; the first timestep is included.
    case leading
    /// Evenly down from the last training timestep, rounded; the first timestep is left out.
    case trailing
}

/// The timesteps of a configuration, in the variants of the scheduler families.
struct TimestepGrid: Sendable {
    let spacing: TimestepSpacing
    private let trainSteps: Int
    private let offset: Int

    /// The grid of a class without these keys.
    init(spacing: TimestepSpacing, trainSteps: Int) {
        self.spacing = spacing
        self.trainSteps = trainSteps
        offset = 0
    }

    /// Reads timestep_spacing, steps_offset and num_train_timesteps.
    init(config: SchedulerConfig, defaultSpacing: TimestepSpacing) throws {
        spacing = try config.choice("timestep_spacing", default: defaultSpacing)
        trainSteps = try config.trainSteps()
        offset = try config.integer("steps_offset", default: 0)
        guard (0..<trainSteps).contains(offset) else {
            throw config.error("steps_offset", "is \(offset); it must be at least 0 and below \(trainSteps)")
        }
    }

    /// The family of Euler: linspace is not rounded to whole timesteps, only to fp32 where `single`.
    func fractional(steps: Int, single: Bool = true) throws -> [Double] {
        try checkCount(steps)
        switch spacing {
        case .linspace: return linspace(steps).map { single ? Double(Float($0)) : $0 }
        case .leading: return leading(steps).map(Double.init)
        case .trailing: return trailing(steps).map(Double.init)
        }
    }

    /// The family of DDIM, which indexes tables with the timesteps: linspace is rounded, half to even.
    func whole(steps: Int) throws -> [Int] {
        try checkCount(steps)
        switch spacing {
        case .linspace: return linspace(steps).map { Int($0.rounded(.toNearestOrEven)) }
        case .leading: return try checked(leading(steps))
        case .trailing: return trailing(steps)
        }
    }

    /// The family of DPM-Solver: linspace and leading spacing make one step more and leave out the last.
    ///
    /// - Parameter last: the highest timestep to use plus one; below the number of training timesteps where the noisiest
    ///   ones are left out.
    func withoutLast(steps: Int, below last: Int) throws -> [Int] {
        try checkCount(steps)
        switch spacing {
        case .linspace:
            let step = Double(last - 1) / Double(steps)
            return (1...steps).reversed().map { index in
                index == steps ? last - 1 : Int((Double(index) * step).rounded(.toNearestOrEven))
            }
        case .leading:
            let step = last / (steps + 1)
            return try checked((1...steps).reversed().map { $0 * step + offset })
        case .trailing:
            let timesteps = trailing(steps, from: last)
            guard timesteps[steps - 1] >= 0 else {
                throw CalderaError.usage(
                    "\(steps) trailing steps do not fit below timestep \(last), where lambda_min_clipped starts them; "
                        + "use another timestep_spacing")
            }
            return timesteps
        }
    }

    /// The timesteps that a person asks for. Throws a usage error unless they fall strictly and the model was trained on
    /// all of them.
    func custom(_ timesteps: [Int]) throws -> [Int] {
        guard !timesteps.isEmpty else { throw CalderaError.usage("The list of timesteps is empty; give at least one") }
        if let wrong = timesteps.first(where: { !(0..<trainSteps).contains($0) }) {
            throw CalderaError.usage(
                "Timestep \(wrong) is out of range: the model was trained on timesteps 0 to \(trainSteps - 1)")
        }
        guard zip(timesteps, timesteps.dropFirst()).allSatisfy(>) else {
            throw CalderaError.usage("The list of timesteps must fall from each one to the next")
        }
        return timesteps
    }

    /// The timesteps, unless steps_offset moves the first one out of the training.
    private func checked(_ timesteps: [Int]) throws -> [Int] {
        guard timesteps[0] < trainSteps else {
            throw CalderaError.usage(
                "\(timesteps.count) steps with steps_offset \(offset) would start at timestep \(timesteps[0]), but the "
                    + "model was trained on timesteps below \(trainSteps); use fewer steps")
        }
        return timesteps
    }

    private func checkCount(_ steps: Int) throws {
        guard (1...trainSteps).contains(steps) else {
            throw CalderaError.usage(
                "The number of steps is \(steps); it must be from 1 to \(trainSteps), the timesteps of the training")
        }
    }

    /// A single step starts, as numpy's linspace does, at timestep 0.
    private func linspace(_ steps: Int) -> [Double] {
        guard steps > 1 else { return [0] }
        let last = Double(trainSteps - 1)
        let step = last / Double(steps - 1)
        return (0..<steps).reversed().map { $0 == steps - 1 ? last : Double($0) * step }
    }

    private func leading(_ steps: Int) -> [Int] {
        let step = trainSteps / steps
        return (0..<steps).reversed().map { $0 * step + offset }
    }

    /// For some counts (61, 103, ...) rounding lets numpy's arange run one element too far, to timestep -1, and
    /// diffusers makes one more step than asked for; here the count is always the one asked for.
    private func trailing(_ steps: Int, from last: Int? = nil) -> [Int] {
        let step = Double(trainSteps) / Double(steps)
        return (0..<steps).map { index in
            Int((Double(last ?? trainSteps) - Double(index) * step).rounded(.toNearestOrEven)) - 1
        }
    }
}
