import CalderaGraph

/// The timesteps of models that were distilled to few steps: some of the original_inference_steps that the distillation
/// used, spread evenly (Luo et al. 2023, "Latent Consistency Models", section 4.3).
struct ConsistencyGrid: Sendable {
    let noise: NoiseSchedule
    private let originalSteps: Int

    /// Reads the betas and original_inference_steps.
    init(config: SchedulerConfig) throws {
        noise = try NoiseSchedule(config: config, defaults: .latents, zeroSNR: .exact)
        originalSteps = try config.integer("original_inference_steps", default: 50)
        guard (1...noise.trainSteps).contains(originalSteps) else {
            throw config.error(
                "original_inference_steps", "is \(originalSteps); it must be from 1 to \(noise.trainSteps)")
        }
    }

    /// The falling timesteps, the grid's own or those that a person asks for.
    func timesteps(_ request: ScheduleRequest, for scheduler: any Scheduler.Type) throws -> [Int] {
        let training = TimestepGrid(spacing: .trailing, trainSteps: noise.trainSteps)
        if let custom = try request.customTimesteps(training, for: scheduler) { return custom }
        guard (1...originalSteps).contains(request.steps) else {
            throw CalderaError.usage(
                "The number of steps is \(request.steps); \(scheduler.className) makes from 1 to \(originalSteps), the "
                    + "original_inference_steps of the model's distillation")
        }
        let stride = noise.trainSteps / originalSteps
        let skip = Double(originalSteps) / Double(request.steps)
        return (0..<request.steps).map { (originalSteps - Int(Double($0) * skip)) * stride - 1 }
    }
}
