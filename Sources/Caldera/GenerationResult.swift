import CalderaAdapters
import CalderaDiffusion
import CalderaGraph

/// How far a call is.
public enum GenerationProgress: Sendable {
    /// Text encoders run.
    case encoding
    /// The UNet is planned, its weights are packed, its kernels made.
    case compiling
    /// A step is done; `pictures` of them run side by side, the first of which is number `firstPicture` of the call.
    case step(index: Int, of: Int, firstPicture: Int, pictures: Int, seconds: Double)
    /// The estimate of the first picture that is being made, where previews are asked for.
    case preview(PreviewImage)
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

/// How a picture looks before it is finished.
public struct PreviewImage: Sendable {
    /// Pixels.
    public let width: Int
    public let height: Int
    /// 8-bit RGB, row by row.
    public let rgb: [UInt8]
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
    /// What the person who asked should know: words that were cut off, tags that were left out.
    public let warnings: [String]
    /// The device's name: "cpu", or what Vulkan calls it.
    public let device: String
    public let precision: Precision
    public let steps: Int
    public let guidanceScale: Double
    public let scheduler: String
    /// The share of the steps that changed a given picture; nil where there was none.
    public let strength: Double?
    /// The adapters of the request and of its prompt, by the paths of their files.
    public let adapters: [AdapterSpec]
    /// Bytes; for the CPU backend what the executables held.
    public let peakDeviceMemory: Int
    /// Bytes: the process's largest resident set.
    public let peakHostMemory: Int
}

extension GenerationProgress {
    init(_ event: PipelineEvent, firstPicture: Int, pictures: Int) {
        switch event {
        case .encoding: self = .encoding
        case .compiling: self = .compiling
        case .decoding: self = .decoding
        case .preview(let picture):
            self = .preview(
                PreviewImage(width: picture.shape[2], height: picture.shape[1], rgb: Picture.bytes(picture)))
        case .step(let index, let count, let seconds):
            self = .step(index: index, of: count, firstPicture: firstPicture, pictures: pictures, seconds: seconds)
        }
    }
}

extension GenerationTimings {
    mutating func add(_ part: PipelineTimings) {
        compile += part.compile
        encode += part.encode
        denoiseSteps += part.steps
        decode += part.decode
    }
}
