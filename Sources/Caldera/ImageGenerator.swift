import CalderaDiffusion
import CalderaFormats
import CalderaGraph
import Foundation

/// A model on a device: prompt in, pictures out.
///
/// ```swift
/// let generator = try ImageGenerator(model: nil, device: .auto)
/// let result = try generator.generate(GenerationRequest(prompt: "a red circle above a blue square")) { _ in }
/// ```
/// Not safe for use from several threads at once; each call blocks until its pictures are done.
public final class ImageGenerator {
    private let model: LoadedModel
    private let backend: any Backend
    private let pipeline: TextToImage
    private let loadSeconds: Double

    /// Opens a diffusers model folder (nil: the embedded model) on a device.
    /// - Parameters:
    ///   - variant: which files to take where a model has several kinds, `fp16` say; nil takes the plain ones.
    ///   - precision: nil takes fp16 on Vulkan and fp32 on the CPU.
    /// Throws `CalderaError` when the model or the device cannot be opened, or the device cannot compute at `precision`.
    public init(
        model path: String?, variant: String? = nil, device: DeviceChoice = .auto, precision: Precision? = nil
    ) throws {
        let start = ContinuousClock.now
        model = try ModelLoader.open(try path ?? EmbeddedModel.path(), variant: variant)
        let selection = try DeviceSelection(device, precision: precision)
        backend = selection.backend
        pipeline = try TextToImage(parts: model.parts, backend: backend, precision: selection.precision)
        loadSeconds = (ContinuousClock.now - start) / .seconds(1)
    }

    /// What the device is called.
    public var deviceName: String { backend.name }

    /// Fills in the defaults and checks sizes, steps and names, without computing. Throws usage errors.
    public func validate(_ request: GenerationRequest) throws { _ = try model.resolved(request) }

    /// Makes `count` pictures. `progress` is called on this thread between parts of the work and after each step; what
    /// it throws stops the call.
    public func generate(
        _ request: GenerationRequest, progress: (GenerationProgress) throws -> Void
    ) throws -> GenerationResult {
        var call = try model.resolved(request)
        let seeds = call.seeds
        let batch = try batchSize(call)
        var timings = GenerationTimings(load: loadSeconds)
        var latents: [Float] = []
        var shape: Shape = []
        var images: [GeneratedImage] = []
        for first in stride(from: 0, to: seeds.count, by: batch) {
            call.seeds = Array(seeds[first..<min(first + batch, seeds.count)])
            let result = try pipeline.run(call) { event in
                try progress(GenerationProgress(event, firstPicture: first, pictures: call.seeds.count))
            }
            timings.add(result.timings)
            shape = result.latents.shape
            latents += Picture.channelsFirst(result.latents)
            images += try pictures(result.pictures, call)
        }
        return GenerationResult(
            images: images,
            latents: HostTensor([seeds.count, shape[3], shape[1], shape[2]], latents), timings: timings,
            device: backend.name, precision: pipeline.precision, steps: call.steps,
            guidanceScale: call.guidanceScale, scheduler: type(of: try model.scheduler(call.scheduler)).className,
            peakDeviceMemory: backend.peakMemory, peakHostMemory: HostMemory.peak)
    }

    // MARK: Memory

    /// How many pictures fit side by side: halved until the plan fits the device's memory.
    private func batchSize(_ request: TextToImageRequest) throws -> Int {
        var batch = min(request.seeds.count, 16)
        guard let available = backend.availableMemory else { return batch }
        while batch > 1, try pipeline.memoryNeeded(request, pictures: batch) > available { batch = (batch + 1) / 2 }
        return batch
    }

    // MARK: Pictures

    private func pictures(_ tensor: HostTensor, _ request: TextToImageRequest) throws -> [GeneratedImage] {
        let bytes = Picture.bytes(tensor)
        let size = bytes.count / request.seeds.count
        return try request.seeds.enumerated().map { index, seed in
            GeneratedImage(
                seed: seed, width: tensor.shape[2], height: tensor.shape[1],
                rgb: Array(bytes[index * size..<(index + 1) * size]),
                parameters: try parameters(request, seed: seed, width: tensor.shape[2], height: tensor.shape[1]))
        }
    }

    private func parameters(_ request: TextToImageRequest, seed: UInt64, width: Int, height: Int) throws -> String {
        let scheduler = try model.scheduler(request.scheduler)
        return GenerationParameters(
            prompt: request.prompt, negativePrompt: request.negativePrompt ?? "", steps: request.steps,
            sampler: type(of: scheduler).webLabel, scheduleType: scheduler.scheduleType,
            guidanceScale: request.guidanceScale, seed: seed, width: width, height: height, model: model.name,
            version: "Caldera \(CalderaVersion.current)"
        ).text
    }
}

extension GenerationProgress {
    init(_ event: PipelineEvent, firstPicture: Int, pictures: Int) {
        switch event {
        case .encoding: self = .encoding
        case .compiling: self = .compiling
        case .decoding: self = .decoding
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
