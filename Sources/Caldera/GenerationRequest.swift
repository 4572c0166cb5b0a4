import CalderaGraph

/// What a person asks for. Nil means: what the model's own files say.
public struct GenerationRequest: Sendable {
    public var prompt: String
    /// What the picture should not show; nil is not the same as an empty text (`force_zeros_for_empty_prompt`).
    public var negativePrompt: String?
    /// Pixels; multiples of 8.
    public var width: Int?
    public var height: Int?
    public var steps: Int?
    /// Classifier-free guidance; 1 or below runs the model once a step, without the negative prompt.
    public var guidanceScale: Double?
    /// The first picture's seed; nil draws one. Picture i of the call has the seed plus i.
    public var seed: UInt64?
    public var count: Int
    /// A scheduler by diffusers' class name or a short name.
    public var scheduler: String?

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

/// How far a call is.
public enum GenerationProgress: Sendable {
    /// Text encoders run.
    case encoding
    /// The UNet is planned, its weights are packed, its kernels made.
    case compiling
    /// A step is done; `pictures` of them run side by side, the first of which is number `firstPicture` of the call.
    case step(index: Int, of: Int, firstPicture: Int, pictures: Int, seconds: Double)
    /// The decoder runs.
    case decoding
}

/// One finished picture.
public struct GeneratedImage: Sendable {
    public let seed: UInt64
    /// Pixels.
    public let width: Int
    public let height: Int
    /// 8-bit RGB, row by row.
    public let rgb: [UInt8]
    /// The parameters as AUTOMATIC1111's web UI writes them.
    public let parameters: String
}

/// Seconds spent in each part of a call.
public struct GenerationTimings: Sendable, Codable, Equatable {
    /// Opening and mapping the model's files.
    public var load = 0.0
    /// Planning, packing weights, making kernels for the UNet.
    public var compile = 0.0
    /// Tokenizers, text encoders, and what depends on the prompt alone.
    public var encode = 0.0
    /// Each denoising step.
    public var denoiseSteps: [Double] = []
    /// The decoder, its weights included.
    public var decode = 0.0

    enum CodingKeys: String, CodingKey {
        case load, compile, encode, decode
        case denoiseSteps = "denoise_steps"
    }
}

/// What a call leaves.
public struct GenerationResult: Sendable {
    public let images: [GeneratedImage]
    /// fp32 [count, channels, height/8, width/8], as the last scheduler step left them (torch's layout).
    public let latents: HostTensor
    public let timings: GenerationTimings
    /// The device's name: "cpu", or what Vulkan calls it.
    public let device: String
    public let precision: Precision
    public let steps: Int
    public let guidanceScale: Double
    public let scheduler: String
    /// Bytes; for the CPU backend what the executables held.
    public let peakDeviceMemory: Int
    /// Bytes: the process's largest resident set.
    public let peakHostMemory: Int
}
