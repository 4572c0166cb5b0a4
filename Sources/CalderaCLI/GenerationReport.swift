import Caldera
import CalderaAdapters
import CalderaDiffusion
import CalderaGraph
import Foundation

/// What `caldera generate --json` prints: every key is always there, with null where there is no value, so that a reader
/// need not ask which ones exist.
struct GenerationReport: Encodable {
    /// Seconds.
    struct Timings: Encodable {
        let load: Double
        let compile: Double
        let encode: Double
        /// The median of `denoiseSteps`.
        let denoisePerStep: Double
        let denoiseSteps: [Double]
        let decode: Double
        /// From the program's start of work until all files are written.
        let total: Double
    }

    /// The files that a call has written.
    struct Files {
        let outputs: [String]
        let latents: String?
        let preview: String?
    }

    /// Pixels.
    struct Extent: Encodable {
        let width: Int
        let height: Int
    }

    // Files and prompts.
    let outputs: [String]
    @OrNull var latents: String?
    @OrNull var preview: String?
    let seeds: [UInt64]
    let prompt: String
    /// What `prompt` was made of, with --upsample.
    @OrNull var shortPrompt: String?
    @OrNull var negativePrompt: String?
    let promptSyntax: String
    @OrNull var clipSkip: Int?

    // The model; null for the embedded one, and for parts that are its own.
    @OrNull var model: String?
    @OrNull var variant: String?
    @OrNull var prediction: String?
    @OrNull var vae: String?
    let embeddings: [String]
    let loras: [AdapterReport]
    @OrNull var refiner: String?
    @OrNull var refinerStart: Double?

    // Sampling.
    let steps: Int
    let guidanceScale: Double
    let guidanceRescale: Double
    let scheduler: String
    @OrNull var eta: Double?
    @OrNull var timesteps: [Int]?
    @OrNull var sigmas: [Double]?
    let rng: String
    @OrNull var variationSeed: UInt64?
    @OrNull var variationStrength: Double?

    // The picture.
    let width: Int
    let height: Int
    @OrNull var initImage: String?
    @OrNull var mask: String?
    @OrNull var strength: Double?
    @OrNull var originalSize: Extent?
    @OrNull var targetSize: Extent?
    /// From the left and from the top.
    let crop: [Int]
    let aestheticScore: Double
    let negativeAestheticScore: Double
    let vaeTiling: String

    // The run.
    let device: String
    let precision: String
    @OrNull var maxMemory: Int?
    let warnings: [String]
    let timings: Timings
    let peakDeviceBytes: Int
    let peakHostBytes: Int

    init(
        _ result: GenerationResult, request: GenerationRequest, options: ModelOptions, files: Files, maxMemory: Int?,
        totalSeconds: Double
    ) {
        outputs = files.outputs
        latents = files.latents
        preview = files.preview
        seeds = result.images.map(\.seed)
        prompt = request.prompt
        shortPrompt = request.shortPrompt
        negativePrompt = request.negativePrompt
        promptSyntax = request.promptSyntax.rawValue
        clipSkip = request.clipSkip
        model = options.model
        variant = options.variant
        prediction = options.prediction?.rawValue
        vae = options.autoencoder
        embeddings = options.embeddings
        loras = result.adapters.map(AdapterReport.init)
        refiner = options.refiner
        refinerStart = options.refiner == nil ? nil : request.refinerStart
        steps = result.steps
        guidanceScale = result.guidanceScale
        guidanceRescale = request.guidanceRescale
        scheduler = result.scheduler
        eta = request.eta
        timesteps = request.grid?.timesteps
        sigmas = request.grid?.sigmas
        rng = request.randomSource.rawValue
        variationSeed = request.variation?.seed
        variationStrength = request.variation?.strength
        width = result.images.first?.width ?? 0
        height = result.images.first?.height ?? 0
        initImage = request.source?.path
        mask = request.source?.mask
        strength = result.strength
        originalSize = request.sizes.original.map(Extent.init)
        targetSize = request.sizes.target.map(Extent.init)
        crop = [request.sizes.crop.width, request.sizes.crop.height]
        aestheticScore = request.sizes.aestheticScore
        negativeAestheticScore = request.sizes.negativeAestheticScore
        vaeTiling = request.tiling.rawValue
        device = result.device
        precision = result.precision.rawValue
        self.maxMemory = maxMemory
        warnings = result.warnings
        timings = Timings(
            load: result.timings.load, compile: result.timings.compile, encode: result.timings.encode,
            denoisePerStep: Self.median(result.timings.denoiseSteps), denoiseSteps: result.timings.denoiseSteps,
            decode: result.timings.decode, total: totalSeconds)
        peakDeviceBytes = result.peakDeviceMemory
        peakHostBytes = result.peakHostMemory
    }

    private static func median(_ values: [Double]) -> Double {
        guard !values.isEmpty else { return 0 }
        let sorted = values.sorted()
        let middle = sorted.count / 2
        return sorted.count.isMultiple(of: 2) ? (sorted[middle - 1] + sorted[middle]) / 2 : sorted[middle]
    }
}

extension GenerationReport.Extent {
    init(_ extent: SizeConditioning.Extent) { self.init(width: extent.width, height: extent.height) }
}

extension SamplingGrid {
    fileprivate var timesteps: [Int]? {
        guard case .timesteps(let list) = self else { return nil }
        return list
    }

    fileprivate var sigmas: [Double]? {
        guard case .sigmas(let list) = self else { return nil }
        return list
    }
}
