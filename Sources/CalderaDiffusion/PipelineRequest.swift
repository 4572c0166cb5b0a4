import CalderaGraph
import CalderaText

/// What a run of a pipeline is asked for, with every default already filled in.
package struct PipelineRequest: Sendable {
    package var prompt: String
    /// Nil when there is none, which is not the same as an empty one (`force_zeros_for_empty_prompt`).
    package var negativePrompt: String?
    package var promptSyntax = PromptSyntax.plain
    /// See `ClipSkip`.
    package var clipSkip: Int?
    /// Pixels.
    package var width: Int
    package var height: Int
    /// Steps of the whole way from noise to picture.
    package var steps: Int
    package var guidanceScale: Double
    /// φ of guidance rescale, from 0 (off) to 1 (Lin et al. 2023, section 3.4).
    package var guidanceRescale = 0.0
    /// A scheduler's name, or nil for the model's own.
    package var scheduler: String?
    /// The share of fresh noise in each step, from 0 to 1, for the schedulers that have one; nil takes their own.
    package var eta: Double?
    /// Timesteps or noise levels to use instead of the scheduler's own.
    package var grid: ScheduleRequest.CustomGrid?
    package var seeds: PictureSeeds
    /// The picture to start from; nil starts from noise.
    package var source: SourcePicture?
    /// SDXL's micro-conditioning; nil takes the picture's own size.
    package var sizes = SizeConditioning()
    /// The share of the way after which the refiner takes over (diffusers `denoising_end` and `denoising_start`).
    package var refinerStart: Double?
    package var tiling = Tiling.auto

    package init(
        prompt: String, negativePrompt: String?, width: Int, height: Int, steps: Int, guidanceScale: Double,
        seeds: PictureSeeds, scheduler: String?
    ) {
        self.prompt = prompt
        self.negativePrompt = negativePrompt
        self.width = width
        self.height = height
        self.steps = steps
        self.guidanceScale = guidanceScale
        self.seeds = seeds
        self.scheduler = scheduler
    }

    /// Pictures that are made side by side.
    package var pictures: Int { seeds.draws.count }
}

/// A picture to change, and the part of it that may change.
package struct SourcePicture: Sendable {
    /// [1, H, W, 3] in -1...1.
    package let picture: HostTensor
    /// [1, H, W, 1]: 1 where the picture is made anew, 0 where it stays; nil changes all of it.
    package let mask: HostTensor?
    /// How much is changed, from 0 to 1: the share of the steps that run.
    package let strength: Double

    package init(picture: HostTensor, mask: HostTensor?, strength: Double) {
        self.picture = picture
        self.mask = mask
        self.strength = strength
    }
}

/// The sizes that SDXL was told of each training picture (Podell et al. 2023, section 2.2), in pixels, height first.
public struct SizeConditioning: Sendable, Equatable {
    public var original: Extent?
    public var crop = Extent(height: 0, width: 0)
    public var target: Extent?
    /// What the refiner is told instead of a target size, for the prompt and for the negative prompt.
    public var aestheticScore = 6.0
    public var negativeAestheticScore = 2.5

    public struct Extent: Sendable, Equatable {
        public var height: Int
        public var width: Int

        public init(height: Int, width: Int) {
            self.height = height
            self.width = width
        }

        fileprivate var values: [Float] { [Float(height), Float(width)] }
    }

    public init() {}

    /// The row of time ids (diffusers `_get_add_time_ids`).
    func timeIDs(picture: Extent, scored: Bool, negative: Bool) -> [Float] {
        let start = (original ?? picture).values + crop.values
        if scored { return start + [Float(negative ? negativeAestheticScore : aestheticScore)] }
        return start + (target ?? picture).values
    }
}

/// Whether the autoencoder works on tiles of the picture.
public enum Tiling: String, Sendable, CaseIterable {
    /// Where the whole picture would not fit the memory.
    case auto
    case on
    case off
}

/// How far a run is.
package enum PipelineEvent: Sendable {
    case encoding
    case compiling
    case step(index: Int, of: Int, seconds: Double)
    /// The estimate of the batch's first picture, fp32 [1, H, W, 3] in about -1...1.
    case preview(HostTensor)
    case decoding
}

/// Seconds spent in each part of a run.
package struct PipelineTimings: Sendable, Equatable {
    package var encode = 0.0
    package var compile = 0.0
    package var steps: [Double] = []
    package var decode = 0.0

    /// Adds the time that `work` takes to one of the parts.
    mutating func add<Result>(to part: WritableKeyPath<Self, Double>, _ work: () throws -> Result) rethrows -> Result {
        let start = ContinuousClock.now
        defer { self[keyPath: part] += (ContinuousClock.now - start) / .seconds(1) }
        return try work()
    }
}

/// What a run leaves.
package struct PipelineResult: Sendable {
    /// fp32 [pictures, h, w, c], as the last scheduler step left them.
    package let latents: HostTensor
    /// fp32 [pictures, H, W, 3] in about -1...1.
    package let pictures: HostTensor
    package let timings: PipelineTimings
    /// Sentences for the person who asked.
    package let warnings: [String]
}
