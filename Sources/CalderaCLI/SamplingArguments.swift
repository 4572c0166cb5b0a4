import ArgumentParser
import Caldera
import CalderaDiffusion

extension RandomSource: ExpressibleByArgument {}

/// How the way from noise to picture is walked.
struct SamplingArguments: ParsableArguments {
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Denoising steps. (default: the model's own)", valueName: "number"),
        transform: Numbers.positive)
    var steps: Int?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "How closely to follow the prompt; 1 or less switches guidance off. (default: the model's own)",
            valueName: "scale"),
        transform: Numbers.finite)
    var guidanceScale: Double?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "Bring back the contrast that guidance exaggerates: 0 is off, 1 all of it. (default: 0)",
            valueName: "fraction"),
        transform: Numbers.fraction)
    var guidanceRescale: Double?

    @Option(
        help: ArgumentHelp(
            "A sampling method by short name (euler, euler_a, dpmpp_2m_karras, unipc, ...), by diffusers' class name or "
                + "by the web UI's label; a wrong name lists them all. (default: the model's own)", valueName: "name"))
    var scheduler: String?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "DDIM and TCD: the share of fresh noise in each step, 0 to 1. (default: 0)",
            valueName: "fraction"),
        transform: Numbers.fraction)
    var eta: Double?

    @Option(
        help: ArgumentHelp(
            "Timesteps to visit, falling, separated by commas. (default: the scheduler's own)", valueName: "list"),
        transform: Numbers.timesteps)
    var timesteps: [Int]?

    @Option(
        help: ArgumentHelp(
            "Noise levels to visit, falling, separated by commas. (default: the scheduler's own)", valueName: "list"),
        transform: Numbers.sigmas)
    var sigmas: [Double]?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "The first picture's seed; the next ones count up. (default: drawn at random)", valueName: "number"),
        transform: Numbers.seed)
    var seed: UInt64?

    @Option(
        help: ArgumentHelp(
            "Whose noise the seed stands for: torch's generator on the cpu, or on cuda as the web UI has it. "
                + "(default: cpu)", valueName: "device"))
    var rng: RandomSource?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("A second seed to mix into the first noise. (default: none)", valueName: "number"),
        transform: Numbers.seed)
    var variationSeed: UInt64?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "How much of the second seed: 0 is none of it, 1 nothing else. (default: 0)", valueName: "fraction"),
        transform: Numbers.fraction)
    var variationStrength: Double?

    func validate() throws {
        if timesteps != nil, sigmas != nil { throw ValidationError("--timesteps and --sigmas exclude each other.") }
        if steps != nil, timesteps != nil || sigmas != nil {
            throw ValidationError("--steps is the length of the list that --timesteps or --sigmas gives: leave it out.")
        }
        if (variationSeed == nil) != (variationStrength == nil) {
            throw ValidationError("--variation-seed and --variation-strength need each other.")
        }
    }

    /// Writes what was asked for into a request.
    func apply(to request: inout GenerationRequest) {
        request.steps = steps
        request.guidanceScale = guidanceScale
        request.guidanceRescale = guidanceRescale ?? 0
        request.scheduler = scheduler
        request.eta = eta
        request.grid = timesteps.map(SamplingGrid.timesteps) ?? sigmas.map(SamplingGrid.sigmas)
        request.seed = seed
        request.randomSource = rng ?? .cpu
        if let variationSeed, let variationStrength {
            request.variation = VariationNoise(seed: variationSeed, strength: variationStrength)
        }
    }
}
