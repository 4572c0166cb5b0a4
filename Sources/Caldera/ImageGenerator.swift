import CalderaAdapters
import CalderaDiffusion
import CalderaFormats
import CalderaGraph
import Foundation

/// A model on a device: prompt in, pictures out.
///
/// ```swift
/// let generator = try ImageGenerator(ModelOptions(), device: .auto)
/// let result = try generator.generate(GenerationRequest(prompt: "a red circle above a blue square")) { _ in }
/// ```
/// Not safe for use from several threads at once; each call blocks until its pictures are done.
public final class ImageGenerator {
    private let model: LoadedModel
    private let refiner: LoadedModel?
    private let backend: any Backend
    private let pipeline: DiffusionPipeline
    private let adapters: AdapterSwitch
    private let options: ModelOptions
    private let loadSeconds: Double
    private let deviceWarnings: [String]

    /// Opens a model on a device.
    /// - Parameters:
    ///   - precision: nil takes fp16 on Vulkan and fp32 on the CPU.
    ///   - memoryLimit: bytes that the device's memory may be used up to; nil for all there is.
    ///   - profiler: what is told when each layer runs; every run is then a profile, which costs some time.
    ///   - tuning: where given, the kernels of shapes that a Vulkan device has not met are tuned before they are first used,
    ///     and kept for later processes; this is told what is measured.
    /// Throws `CalderaError` when the model or the device cannot be opened, or the device cannot compute at `precision`.
    public init(
        _ options: ModelOptions, device: DeviceChoice = .auto, precision: Precision? = nil, memoryLimit: Int? = nil,
        profiler: Profiler? = nil, tuning: ((String) -> Void)? = nil
    ) throws {
        let start = ContinuousClock.now
        self.options = options
        model = try ModelLoader.open(options)
        refiner = try ModelLoader.openRefiner(options)
        adapters = AdapterSwitch(model, options: options)
        let selection = try DeviceSelection(device, precision: precision, tuning: tuning)
        deviceWarnings = selection.warnings
        backend = profiler.map { ProfilingBackend(selection.backend, profiler: $0) } ?? selection.backend
        backend.memoryLimit = memoryLimit
        pipeline = try DiffusionPipeline(
            parts: model.parts, refiner: refiner?.parts, backend: backend, precision: selection.precision)
        if let path = options.previewDecoder {
            let decoder = try AutoencoderLoader(source: model.source, path: path)
            pipeline.previewDecoder = try PreviewDecoder(
                decoder.autoencoder, weights: decoder.weights, for: model.parts, backend: backend,
                precision: selection.precision)
        }
        loadSeconds = (ContinuousClock.now - start) / .seconds(1)
    }

    /// What the device is called.
    public var deviceName: String { backend.name }

    /// Fills in the defaults and checks sizes, steps and names, without computing. Throws usage errors.
    public func validate(_ request: GenerationRequest) throws { _ = try resolved(request) }

    /// Makes `count` pictures. `progress` is called on this thread between parts of the work and after each step; what
    /// it throws stops the call.
    public func generate(
        _ request: GenerationRequest, progress: (GenerationProgress) throws -> Void
    ) throws -> GenerationResult {
        let resolved = try resolved(request)
        try pipeline.checkLimit(resolved.request)
        try pipeline.replaceWeights(adapters.apply(resolved.adapters))
        var call = resolved.request
        let draws = call.seeds.draws
        let batch = try batchSize(call)
        var collected = Collected(timings: GenerationTimings(load: loadSeconds))
        for first in stride(from: 0, to: draws.count, by: batch) {
            call.seeds.draws = Array(draws[first..<min(first + batch, draws.count)])
            let result = try pipeline.run(call) { event in
                try progress(GenerationProgress(event, firstPicture: first, pictures: call.pictures))
            }
            collected.add(result, images: try images(result.pictures, call, written: request))
        }
        return GenerationResult(
            images: collected.images, latents: HostTensor.stacked(collected.latents), timings: collected.timings,
            warnings: deviceWarnings + resolved.warnings + adapters.warnings + collected.warnings, device: backend.name,
            precision: pipeline.precision,
            steps: call.steps, guidanceScale: call.guidanceScale,
            scheduler: type(of: try model.parts.scheduler(for: call)).className, strength: call.source?.strength,
            adapters: resolved.adapters,
            peakDeviceMemory: backend.peakMemory, peakHostMemory: HostMemory.peak)
    }

    /// What the batches of a call leave.
    private struct Collected {
        var timings: GenerationTimings
        var latents: [HostTensor] = []
        var images: [GeneratedImage] = []
        var warnings: [String] = []

        mutating func add(_ result: PipelineResult, images: [GeneratedImage]) {
            timings.add(result.timings)
            latents.append(Picture.channelsFirst(result.latents))
            self.images += images
            for warning in result.warnings where !warnings.contains(warning) { warnings.append(warning) }
        }
    }

    // MARK: Requests

    private struct ResolvedCall {
        let request: PipelineRequest
        let adapters: [AdapterSpec]
        let warnings: [String]
    }

    /// The request without the prompt's tags, and the adapters that they and the request ask for.
    private func resolved(_ request: GenerationRequest) throws -> ResolvedCall {
        try model.checkTaken(request, refiner: refiner)
        let tags = try PromptTags(request.prompt)
        var plain = request
        plain.prompt = tags.prompt
        plain.negativePrompt = try request.negativePrompt.map { try PromptTags($0).prompt }
        return ResolvedCall(
            request: try model.resolved(plain, refines: refiner != nil),
            adapters: request.adapters + (try adapters.named(in: tags)),
            warnings: tags.ignored.map { "The tag \($0) is none that Caldera knows; it was left out." })
    }

    /// How many pictures fit side by side: halved until the plan fits the device's memory.
    private func batchSize(_ request: PipelineRequest) throws -> Int {
        var batch = min(request.pictures, 16)
        guard let available = pipeline.availableMemory else { return batch }
        while batch > 1, try !pipeline.keepsWeights(request, pictures: batch, within: available) {
            batch = (batch + 1) / 2
        }
        return batch
    }

    // MARK: Pictures

    private func images(
        _ pictures: HostTensor, _ call: PipelineRequest, written: GenerationRequest
    ) throws -> [GeneratedImage] {
        let bytes = Picture.bytes(pictures)
        let size = bytes.count / call.pictures
        let infotext = Infotext(model: model, refiner: refiner, options: options, written: written)
        return try call.seeds.draws.enumerated().map { index, draw in
            GeneratedImage(
                seed: draw.seed, width: pictures.shape[2], height: pictures.shape[1],
                rgb: Array(bytes[index * size..<(index + 1) * size]),
                parameters: try infotext.text(call, draw))
        }
    }
}
