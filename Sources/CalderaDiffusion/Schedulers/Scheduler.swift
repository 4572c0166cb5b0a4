import CalderaGraph

/// One update of the sampling loop as a linear combination, the form in which the device runs it:
/// next = sample·x + output·m + noise·ε, where x is the latent, m the (guided) output of the model at this step and
/// ε fresh standard normal noise of x's shape. The model is given inputScale·x at `timestep`.
package struct StepCoefficients: Sendable, Equatable {
    /// The time that the model is conditioned on, in training steps; it may lie between two of them.
    package let timestep: Float
    package let inputScale: Double
    package let sample: Double
    package let output: Double
    package let noise: Double
}

/// Everything that a sampling loop needs of a scheduler, computed before the loop starts.
package struct Schedule: Sendable, Equatable {
    /// In the order in which they run.
    package let steps: [StepCoefficients]
    /// What standard normal noise is multiplied by to become the first latent.
    package let initNoiseSigma: Double
    /// The noise level sqrt((1 - ᾱ)/ᾱ) before each step, and after the last one; infinite where ᾱ is zero.
    package let sigmas: [Double]
    /// Whether every step draws noise from the random stream, even one whose noise coefficient is zero.
    package let usesNoise: Bool

    package var timesteps: [Float] { steps.map(\.timestep) }

    /// Throws `CalderaError` when a coefficient is not finite, which is how a noise schedule without any signal at
    /// some timestep shows with a prediction type that would have to divide by it.
    init(
        scheduler: any Scheduler.Type, prediction: PredictionType, steps: [StepCoefficients], initNoiseSigma: Double,
        sigmas: [Double], usesNoise: Bool
    ) throws {
        for step in steps {
            let values = [step.inputScale, step.sample, step.output, step.noise]
            guard values.allSatisfy(\.isFinite) else {
                throw CalderaError(
                    "\(scheduler.className) has no finite update at timestep \(step.timestep) for prediction_type "
                        + "'\(prediction.rawValue)': the noise schedule leaves no signal or no noise there; "
                        + "use another scheduler or timestep_spacing")
            }
        }
        self.steps = steps
        self.initNoiseSigma = initNoiseSigma
        self.sigmas = sigmas
        self.usesNoise = usesNoise
    }
}

/// A sampling method: turns a model's scheduler configuration and a number of steps into a table of coefficients.
///
/// To add one, write its file, its line in `SchedulerRegistry.all` and its golden table.
package protocol Scheduler: Sendable {
    /// The diffusers class that this one reproduces, as `_class_name` in scheduler_config.json spells it.
    static var className: String { get }
    /// The short names that a person may use; the first is the one that is listed.
    static var shortNames: [String] { get }
    /// What AUTOMATIC1111's web UI calls it, for the parameters in pictures.
    static var webLabel: String { get }

    /// How the web UI calls the spacing of the noise levels, "Karras"; nil for the plain one.
    var scheduleType: String? { get }

    /// Reads what this scheduler uses of `config`; keys of other schedulers are ignored, missing keys take the defaults
    /// of the diffusers class. Throws `CalderaError` on a value that changes the computation and is not supported.
    init(config: SchedulerConfig) throws

    /// The table for `steps` model evaluations.
    /// Throws a usage `CalderaError` unless 1 <= steps <= the number of training timesteps.
    func schedule(steps: Int) throws -> Schedule
}

extension Scheduler {
    /// Every accepted name.
    package static var names: [String] { [className] + shortNames }

    package var scheduleType: String? { nil }
}
