import CalderaAdapters
import CalderaDiffusion
import CalderaFormats
import CalderaGraph
import CalderaText

/// What a person asks for. Nil means: what the model's own files say.
public struct GenerationRequest: Sendable {
    public var prompt: String
    /// What a person wrote where a language model has made `prompt` of it; noted in the picture.
    public var shortPrompt: String?
    /// What the picture should not show; nil is not the same as an empty text (`force_zeros_for_empty_prompt`).
    public var negativePrompt: String?
    /// How the prompts are read.
    public var promptSyntax = PromptSyntax.plain
    /// Layers of the text encoders to leave out at the end; how it is counted depends on the syntax.
    public var clipSkip: Int?
    /// Pixels; multiples of 8. Where a picture is given, its own size is the default.
    public var width: Int?
    public var height: Int?
    public var steps: Int?
    /// Classifier-free guidance; 1 or below runs the model once a step, without the negative prompt.
    public var guidanceScale: Double?
    /// From 0, off, to 1: brings the deviation of the guided output back to that of the prompted one.
    public var guidanceRescale = 0.0
    /// The first picture's seed; nil draws one. Picture i of the call has the seed plus i.
    public var seed: UInt64?
    public var count: Int
    /// Whose random numbers the noise is made of.
    public var randomSource = RandomSource.cpu
    /// A seed whose noise is mixed into the first, and how much of it, from 0 to 1. The pictures of a call then share
    /// `seed`, and this one counts up, as in the web UI.
    public var variation: VariationNoise?
    /// A scheduler by diffusers' class name, the web UI's label or a short name.
    public var scheduler: String?
    /// The share of fresh noise in each step, from 0 to 1, for DDIM and TCD; nil is 0, as in diffusers.
    public var eta: Double?
    /// Timesteps or noise levels to visit instead of the scheduler's own.
    public var grid: SamplingGrid?
    /// A picture to change; nil makes one from nothing.
    public var source: SourceImage?
    /// Low-rank adapters, besides those that the prompt names.
    public var adapters: [AdapterSpec] = []
    /// After which share of the steps the refiner takes over, where the generator has one.
    public var refinerStart = 0.8
    /// SDXL's sizes and scores; nil parts take the picture's own.
    public var sizes = SizeConditioning()
    public var tiling = Tiling.auto

    public init(
        prompt: String, negativePrompt: String? = nil, width: Int? = nil, height: Int? = nil, steps: Int? = nil,
        guidanceScale: Double? = nil, seed: UInt64? = nil, count: Int = 1, scheduler: String? = nil
    ) {
        self.prompt = prompt
        self.negativePrompt = negativePrompt
        self.width = width
        self.height = height
        self.steps = steps
        self.guidanceScale = guidanceScale
        self.seed = seed
        self.count = count
        self.scheduler = scheduler
    }
}

/// A picture to start from.
public struct SourceImage: Sendable {
    /// A PNG file.
    public var path: String
    /// A PNG file of the same size, white where the picture is made anew; nil changes all of it.
    public var mask: String?
    /// How much is changed, above 0 and up to 1; nil takes diffusers' default for the kind of model.
    public var strength: Double?

    public init(path: String, mask: String? = nil, strength: Double? = nil) {
        self.path = path
        self.mask = mask
        self.strength = strength
    }
}

/// Which model to open, and with which parts.
public struct ModelOptions: Sendable {
    /// A diffusers folder or a single-file checkpoint; nil is the embedded model.
    public var model: String?
    /// Which files of a folder to take, `fp16` say; nil takes the plain ones.
    public var variant: String?
    /// What the UNet predicts, where the model's own word is not to be taken.
    public var prediction: CheckpointPrediction?
    /// A diffusers folder whose configs describe a single file, where it is no published model's size.
    public var configs: String?
    /// Another autoencoder: a folder, a single file, or a checkpoint that holds one.
    public var autoencoder: String?
    /// A refiner for the last part of the steps.
    public var refiner: String?
    /// Textual-inversion embeddings.
    public var embeddings: [String] = []
    /// Where `<lora:NAME:WEIGHT>` in a prompt finds its files.
    public var adapterFolder: String?
    /// Whether an adapter may have tensors that fit nothing in the model.
    public var allowsPartialAdapters = false
    /// A decoder that shows each step's estimate of the picture: TAESD for SD, TAESDXL for SDXL, or any other.
    public var previewDecoder: String?

    public init(model: String? = nil) { self.model = model }
}

/// Where a sampling loop stops on its way, instead of where its scheduler would.
public enum SamplingGrid: Sendable, Equatable {
    /// Falling timesteps.
    case timesteps([Int])
    /// Falling noise levels σ, with or without the 0 after the last step.
    case sigmas([Double])

    package var schedule: ScheduleRequest.CustomGrid {
        switch self {
        case .timesteps(let list): .timesteps(list)
        case .sigmas(let list): .sigmas(list)
        }
    }

    /// Steps that the list stands for.
    var count: Int {
        switch self {
        case .timesteps(let list): list.count
        case .sigmas(let list): list.last == 0 ? list.count - 1 : list.count
        }
    }
}
