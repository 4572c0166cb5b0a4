import CalderaGraph

/// How much of a picture and how much noise latents hold: image·x0 + noise·ε.
package struct NoiseLevel: Sendable, Equatable {
    package let image: Double
    package let noise: Double

    package init(image: Double, noise: Double) {
        self.image = image
        self.noise = noise
    }

    /// The levels of a variance-preserving sampler that counts in σ = noise/image.
    static func preserving(sigma: Double) -> NoiseLevel {
        let total = (sigma * sigma + 1).squareRoot()
        return NoiseLevel(image: 1 / total, noise: sigma / total)
    }
    /// A picture without noise.
    package static let clean = NoiseLevel(image: 1, noise: 0)
    /// The levels of a variance-exploding sampler.
    static func exploding(_ sigma: Double) -> NoiseLevel { NoiseLevel(image: 1, noise: sigma) }
    /// The levels of a variance-preserving sampler with signal variance ᾱ.
    static func preserving(_ alphaCumprod: Double) -> NoiseLevel {
        NoiseLevel(image: alphaCumprod.squareRoot(), noise: max(0, 1 - alphaCumprod).squareRoot())
    }
}

/// One evaluation of the model and what is done with it, in the form in which the device runs it. The loop keeps a few
/// tensors of the latents' shape, the states; state 0 is the latents. The model is given inputScale·x₀ at `timestep`;
/// then all states are replaced at once by linear forms in the old ones, the model's output and fresh noise.
package struct StepCoefficients: Sendable, Equatable {
    /// The time that the model is conditioned on, in training steps; it may lie between two of them. The models of
    /// Karras et al. 2022 are conditioned on ln(σ)/4 instead.
    package let timestep: Float
    package let inputScale: Double
    /// The next value of each state.
    package let updates: [LinearForm]
    /// Whether a tensor of noise is drawn from the random stream here, even if its coefficient is zero.
    package let drawsNoise: Bool
    /// Where the noise is not drawn from the random stream but the increment of a Brownian path: over which span.
    package let brownian: BrownianSpan?
    /// What the latents hold after this evaluation, as diffusers' `add_noise` at the next timestep has it; inpainting
    /// puts the known part of the picture back at this level.
    package let level: NoiseLevel
    /// The finished latents as the model sees them at this evaluation, a form in the latents and the model's output:
    /// what a preview shows. Zero where the latents hold nothing of the picture.
    package let estimate: LinearForm

    init(
        timestep: Float, inputScale: Double, updates: [LinearForm], drawsNoise: Bool, brownian: BrownianSpan?,
        level: NoiseLevel, estimate: LinearForm
    ) {
        self.timestep = timestep
        self.inputScale = inputScale
        self.updates = updates
        self.drawsNoise = drawsNoise
        self.brownian = brownian
        self.level = level
        self.estimate = estimate
    }
}

/// Everything that a sampling loop needs of a scheduler, computed before the loop starts.
package struct Schedule: Sendable, Equatable {
    /// One for each evaluation of the model, in the order in which they run.
    package let steps: [StepCoefficients]
    /// What standard normal noise is multiplied by to become the first latents of a picture made from nothing.
    package let initNoiseSigma: Double
    /// What the latents hold before the first step, where a picture is given (`add_noise` at the first timestep).
    package let start: NoiseLevel
    /// The noise level sqrt((1 - ᾱ)/ᾱ) before each step, and after the last one; infinite where ᾱ is zero.
    package let sigmas: [Double]
    /// Evaluations of one full step: 2 for the Heun family (diffusers `scheduler.order`).
    package let order: Int
    let prediction: PredictionType

    package var timesteps: [Float] { steps.map(\.timestep) }
    package var usesNoise: Bool { steps.contains { $0.drawsNoise || $0.brownian != nil } }
    /// How many states the loop keeps, the latents included.
    package var stateCount: Int { steps.map(\.updates.count).max() ?? 1 }

    /// Throws `CalderaError` when a coefficient is not finite, which is how a noise schedule without any signal at
    /// some timestep shows with a prediction type that would have to divide by it.
    init(
        scheduler: any Scheduler.Type, prediction: PredictionType, steps: [StepCoefficients], initNoiseSigma: Double,
        start: NoiseLevel, sigmas: [Double], order: Int = 1
    ) throws {
        for step in steps where !(step.inputScale.isFinite && step.updates.allSatisfy(\.isFinite)) {
            throw CalderaError(
                "\(scheduler.className) has no finite update at timestep \(step.timestep) for prediction_type "
                    + "'\(prediction.rawValue)': the noise schedule leaves no signal or no noise there; "
                    + "use another scheduler or timestep_spacing")
        }
        self.init(
            steps: steps, initNoiseSigma: initNoiseSigma, start: start, sigmas: sigmas, order: order,
            prediction: prediction)
    }

    private init(
        steps: [StepCoefficients], initNoiseSigma: Double, start: NoiseLevel, sigmas: [Double], order: Int,
        prediction: PredictionType
    ) {
        self.steps = steps
        self.initNoiseSigma = initNoiseSigma
        self.start = start
        self.sigmas = sigmas
        self.order = order
        self.prediction = prediction
    }

    /// The first `count` evaluations, for a picture that another model finishes (diffusers `denoising_end`).
    package func prefix(_ count: Int) -> Schedule {
        Schedule(
            steps: Array(steps.prefix(count)), initNoiseSigma: initNoiseSigma, start: start, sigmas: sigmas,
            order: order, prediction: prediction)
    }
}

/// Which steps a sampling loop shall make.
package struct ScheduleRequest: Sendable, Equatable {
    /// Steps of the whole way from noise to picture (diffusers `num_inference_steps`).
    package var steps: Int
    /// The evaluation at which the loop starts, with nothing remembered of those before it: 0 for a picture from
    /// nothing (diffusers `set_begin_index`).
    package var first: Int
    /// A grid to use instead of the scheduler's own; `steps` is not read then.
    package var grid: CustomGrid?

    /// Timesteps or noise levels that a person asks for (diffusers `set_timesteps(timesteps=)`, `(sigmas=)`).
    package enum CustomGrid: Sendable, Equatable {
        /// Falling timesteps.
        case timesteps([Int])
        /// Falling σ; the one after the last step (0) is not among them.
        case sigmas([Double])
    }

    package init(steps: Int, first: Int = 0, grid: CustomGrid? = nil) {
        self.steps = steps
        self.first = first
        self.grid = grid
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
    /// What AUTOMATIC1111's web UI calls it.
    static var webLabel: String { get }
    /// Names for this class with some of its options set, as the web UI has samplers of their own for them.
    static var variants: [SchedulerVariant] { get }
    /// Whether it takes use_karras_sigmas, use_exponential_sigmas and use_beta_sigmas.
    static var takesSigmaFamilies: Bool { get }

    /// What the web UI calls it with the options that it has, for the parameters in pictures.
    var webLabel: String { get }
    /// How the web UI calls the spacing of the noise levels, "Karras"; nil for the plain one.
    var scheduleType: String? { get }

    /// Reads what this scheduler uses of `config`; keys of other schedulers are ignored, missing keys take the defaults
    /// of the diffusers class. Throws `CalderaError` on a value that changes the computation and is not supported.
    init(config: SchedulerConfig) throws

    /// The table of the evaluations that `request` asks for.
    /// Throws a usage `CalderaError` unless 1 <= steps <= the number of training timesteps and `first` is one of the
    /// evaluations, and for a custom grid that this scheduler does not take.
    func schedule(_ request: ScheduleRequest) throws -> Schedule
}

extension Scheduler {
    package static var variants: [SchedulerVariant] { [] }
    package static var takesSigmaFamilies: Bool { false }

    package var webLabel: String { Self.webLabel }
    package var scheduleType: String? { nil }

    /// The table for a picture from nothing.
    package func schedule(steps: Int) throws -> Schedule { try schedule(ScheduleRequest(steps: steps)) }
}

extension ScheduleRequest {
    /// Throws a usage error for a grid of a person's own, which `scheduler` cannot use.
    func refuseGrid(for scheduler: any Scheduler.Type) throws {
        guard grid == nil else {
            throw CalderaError.usage(
                "\(scheduler.className) takes neither a list of timesteps nor one of sigmas; leave the list out or choose "
                    + "EulerDiscreteScheduler")
        }
    }

    /// The timesteps that a person asks for, checked against `training`; nil for the scheduler's own.
    /// Throws a usage error for a list of sigmas, which `scheduler` cannot use.
    func customTimesteps(_ training: TimestepGrid, for scheduler: any Scheduler.Type) throws -> [Int]? {
        switch grid {
        case nil: return nil
        case .timesteps(let timesteps): return try training.custom(timesteps)
        case .sigmas:
            throw CalderaError.usage(
                "\(scheduler.className) takes a list of timesteps but none of sigmas; give timesteps or choose "
                    + "EulerDiscreteScheduler")
        }
    }

    /// Throws a usage error where a list of timesteps meets levels that set timesteps of their own.
    func refuseTimesteps(with family: SigmaFamily?, for scheduler: any Scheduler.Type) throws {
        guard case .timesteps = grid, let family else { return }
        throw CalderaError.usage(
            "\(scheduler.className) cannot follow a list of timesteps with \(family.key), which sets its own; leave out one "
                + "of the two")
    }
}
