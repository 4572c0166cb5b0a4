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

    /// Reads timestep_spacing, steps_offset and num_train_timesteps.
    init(config: SchedulerConfig, defaultSpacing: TimestepSpacing) throws {
        spacing = try config.choice("timestep_spacing", default: defaultSpacing)
        trainSteps = try config.trainSteps()
        offset = try config.integer("steps_offset", default: 0)
        guard (0..<trainSteps).contains(offset) else {
            throw config.error("steps_offset", "is \(offset); it must be at least 0 and below \(trainSteps)")
        }
    }

    /// The family of Euler: linspace is not rounded, so that timesteps may be fractional.
    func fractional(steps: Int) throws -> [Float] {
        try checkCount(steps)
        switch spacing {
        case .linspace: return linspace(steps).map(Float.init)
        case .leading: return leading(steps).map(Float.init)
        case .trailing: return trailing(steps).map(Float.init)
        }
    }

    /// The family of DDIM, which indexes tables with the timesteps: linspace is rounded, half to even.
    func whole(steps: Int) throws -> [Int] {
        try checkCount(steps)
        switch spacing {
        case .linspace: return linspace(steps).map { Int($0.rounded(.toNearestOrEven)) }
        case .leading:
            let timesteps = leading(steps)
            guard timesteps[0] < trainSteps else {
                throw CalderaError.usage(
                    "\(steps) steps with steps_offset \(offset) would start at timestep \(timesteps[0]), but the model "
                        + "was trained on timesteps below \(trainSteps); use fewer steps")
            }
            return timesteps
        case .trailing: return trailing(steps)
        }
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
    private func trailing(_ steps: Int) -> [Int] {
        let step = Double(trainSteps) / Double(steps)
        return (0..<steps).map { index in
            Int((Double(trainSteps) - Double(index) * step).rounded(.toNearestOrEven)) - 1
        }
    }
}
