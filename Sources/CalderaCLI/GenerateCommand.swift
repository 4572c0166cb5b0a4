import ArgumentParser
import Caldera
import CalderaFormats
import CalderaGraph
import Foundation
import Logging

/// `caldera generate`: prompt in, pictures out.
struct GenerateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "generate", abstract: "Draw pictures of what a text says.",
        discussion: "Prints the path of each picture, one a line.")

    @OptionGroup(title: "Prompt") var text: PromptArguments
    @OptionGroup(title: "Model") var model: ModelArguments
    @OptionGroup(title: "Adapters") var adapters: AdapterArguments
    @OptionGroup(title: "Refiner") var refiner: RefinerArguments
    @OptionGroup(title: "Sampling") var sampling: SamplingArguments
    @OptionGroup(title: "Picture") var size: SizeOptions
    @OptionGroup(title: "Picture") var picture: PictureArguments
    @OptionGroup(title: "Device") var device: DeviceOptions
    @OptionGroup(title: "Device") var tuning: TuningOptions
    @OptionGroup(title: "Output") var output: OutputArguments
    @OptionGroup(title: "Output") var profile: ProfileArguments
    @OptionGroup var logging: LoggingOptions

    private var options: ModelOptions {
        var options = model.options
        options.adapterFolder = text.loraFolder
        options.allowsPartialAdapters = adapters.loraAllowPartial
        options.refiner = refiner.refiner
        options.previewDecoder = output.preview
        return options
    }

    private var request: GenerationRequest {
        var request = GenerationRequest(
            prompt: text.prompt, width: size.width, height: size.height, count: output.count ?? 1)
        text.apply(to: &request)
        sampling.apply(to: &request)
        picture.apply(to: &request)
        request.adapters = adapters.lora
        if let start = refiner.refinerStart { request.refinerStart = start }
        return request
    }

    func run() throws {
        logging.bootstrap()
        let start = ContinuousClock.now
        var request = request
        let naming = try OutputNaming(output.output, prompt: text.prompt, count: request.count)
        if let path = output.saveLatents { try OutputNaming.checkLatents(path) }
        if output.preview != nil { try OutputNaming.checkPicture(output.previewPath) }
        let profiler = try profile.profiler()
        let display = ProgressDisplay(pictures: request.count, plain: logging.verbose)
        if text.upsamples { try upsample(&request, display) }
        let result = try generate(request, display, profiler)
        for warning in result.warnings { StandardStreams.reportWarning(warning) }
        let paths = try save(result, naming)
        if let profiler { try profile.report(profiler, device: result.device) }
        guard output.json else { return }
        let total = (ContinuousClock.now - start) / .seconds(1)
        let report = GenerationReport(
            result, request: request, options: options,
            files: GenerationReport.Files(
                outputs: paths, latents: output.saveLatents, preview: output.preview == nil ? nil : output.previewPath),
            maxMemory: device.maxMemory, totalSeconds: total)
        try StandardStreams.print(JSONText.encode(report))
    }

    /// Puts a language model's prompt in place of the short one, and says which. The model is gone when pictures begin.
    private func upsample(_ request: inout GenerationRequest, _ display: ProgressDisplay) throws {
        defer { display.finish() }
        display.show(stage: "upsampling the prompt")
        var short = UpsamplingRequest(prompt: request.prompt)
        short.seed = request.seed.map { $0 & 0xffff_ffff }
        let upsampler = try PromptUpsampler(
            model: text.upsampleModel, device: device.choice, precision: device.precision,
            memoryLimit: device.maxMemory)
        if upsampler.hasTasks, let width = request.width, let height = request.height {
            short.aspectRatio = Double(width) / Double(height)
        }
        guard let long = try upsampler.upsample(short).first else { return }
        request.shortPrompt = request.prompt
        request.prompt = long.prompt
        display.finish()
        StandardStreams.report("upsampled prompt: \(long.prompt.onOneLine)")
    }

    private func generate(
        _ request: GenerationRequest, _ display: ProgressDisplay, _ profiler: Profiler?
    ) throws -> GenerationResult {
        defer { display.finish() }
        display.show(stage: "loading the model")
        let generator = try ImageGenerator(
            options, device: device.choice, precision: device.precision, memoryLimit: device.maxMemory,
            profiler: profiler, tuning: tuning.tune ? { display.show(stage: $0) } : nil)
        try generator.validate(request)
        let log = Logger(label: "caldera.generate")
        log.debug("device \(generator.deviceName), model \(model.model ?? "embedded")")
        let result = try generator.generate(request) { progress in
            if case .preview(let picture) = progress { try show(picture) }
            display.update(progress)
        }
        log.debug("\(Self.summary(result))")
        return result
    }

    /// What the log says of a finished call.
    private static func summary(_ result: GenerationResult) -> String {
        let timings = result.timings
        let stages = [
            ("load", timings.load), ("compile", timings.compile), ("encode", timings.encode),
            ("denoise", timings.denoiseSteps.reduce(0, +)), ("decode", timings.decode),
        ]
        let times = stages.map { "\($0.0) \(Units.fixed($0.1, digits: 2)) s" }.joined(separator: ", ")
        return
            "\(result.scheduler), \(result.precision.rawValue): \(times); peak \(Units.bytes(result.peakDeviceMemory)) "
            + "on the device, \(Units.bytes(result.peakHostMemory)) on the host"
    }

    /// Writes the latents, then each picture, and prints each path as soon as its file is there.
    private func save(_ result: GenerationResult, _ naming: OutputNaming) throws -> [String] {
        if let saveLatents = output.saveLatents {
            try SafetensorsWriter.write([SafetensorsWriter.Tensor("latents", result.latents)], to: saveLatents)
        }
        return try result.images.enumerated().map { index, image in
            let path = naming.path(index: index, seed: image.seed)
            try PNGFile.write(Self.picture(image), to: path)
            if !output.json { try StandardStreams.print(path) }
            return path
        }
    }

    /// Replaces the preview's file.
    private func show(_ picture: PreviewImage) throws {
        try PNGFile.write(
            PNGPicture(width: picture.width, height: picture.height, rgb: picture.rgb), to: output.previewPath)
    }

    /// The picture with its parameters where the web UI and its relatives look for them.
    private static func picture(_ image: GeneratedImage) -> PNGPicture {
        PNGPicture(
            width: image.width, height: image.height, rgb: image.rgb,
            text: [PNGPicture.Text(GenerationParameters.keyword, image.parameters)])
    }
}
