import Caldera
import CalderaDiffusion
import CalderaGraph

/// Measures the parts of a model, with random weights, one after the other: each is compiled, run and released.
package struct ModelBenchmark {
    /// What can be measured alone.
    package enum Part: String, CaseIterable, Sendable {
        /// The text encoders; of an autoencoder alone, its encoder.
        case encoders
        case unet
        case decoder
    }

    package struct Options: Sendable {
        package var architecture: BenchmarkArchitecture
        /// Only these; empty for all that the model has.
        package var parts: Set<Part> = []
        /// Pixels; nil takes the model's own.
        package var width: Int?
        package var height: Int?
        /// Pictures side by side.
        package var batch = 1
        package var steps = 3
        /// Runs of the encoders and of the decoder.
        package var repeats = 3
        package var isGuided = true
        package var device = DeviceChoice.auto
        package var precision: Precision?
        /// Device bytes.
        package var memoryLimit: Int?
        /// Whether shapes that the device has not met are tuned first.
        package var tunes = false
        /// As it was typed.
        package var command: [String] = []

        package init(_ architecture: BenchmarkArchitecture) { self.architecture = architecture }
    }

    private let options: Options
    private let model: LoadedModel
    private let backend: any Backend
    private let plans: PipelinePlans
    private let request: PipelineRequest

    /// Opens the device and checks the sizes and the parts; `report` is told what the tuner measures, and what a person
    /// should know of the device. Throws `CalderaError` as `ImageGenerator.init` does.
    package init(_ options: Options, report: @escaping (String) -> Void = { _ in }) throws {
        self.options = options
        if options.architecture == .vae, options.parts.contains(.unet) {
            throw CalderaError.usage("An autoencoder alone has no UNet: leave --part unet out, or name another --arch.")
        }
        model = try BenchmarkModel.open(options.architecture)
        let selection = try DeviceSelection(
            options.device, precision: options.precision, tuning: options.tunes ? report : nil)
        selection.warnings.forEach(report)
        backend = selection.backend
        backend.memoryLimit = options.memoryLimit
        plans = PipelinePlans(parts: model.parts, precision: selection.precision, limits: backend.limits)
        var request = try model.planned(width: options.width, height: options.height)
        request.steps = options.steps
        request.scheduler = "euler"
        request.seeds = PictureSeeds(seeds: (0..<UInt64(options.batch)).map { $0 })
        if !options.isGuided { request.guidanceScale = 1 }
        self.request = request
    }

    /// What has been measured so far.
    private struct Measured {
        var parts: [ModelReport.Part] = []
        var layers: [ModelReport.Layer] = []
        var encode: [Double] = []
        var prompt: [Double] = []
        var step: [Double] = []
        var decode: [Double] = []

        mutating func add(_ part: MeasuredPart, _ stages: [Stage]) throws {
            var report = part.report
            report.hostSeconds = part.hostSeconds
            parts.append(report)
            for stage in stages { layers += try part.layers(stage) }
        }

        /// Text encoders run one after the other: their times add up.
        mutating func addEncoding(_ seconds: [Double]) {
            encode = encode.isEmpty ? seconds : zip(encode, seconds).map { $0 + $1 }
        }
    }

    /// Measures everything; `progress` is told what comes next.
    package func run(progress: (String) -> Void) throws -> ModelReport {
        var measured = Measured()
        if isWanted(.encoders) { try measureEncoders(&measured, progress) }
        if isWanted(.unet) {
            progress("unet")
            try measureUNet(&measured)
        }
        if isWanted(.decoder) {
            progress("vae decoder")
            try measureDecoder(&measured)
        }
        return report(measured)
    }

    private func isWanted(_ part: Part) -> Bool {
        if options.architecture == .vae, part == .unet { return false }
        return options.parts.isEmpty || options.parts.contains(part)
    }

    private func measureEncoders(_ measured: inout Measured, _ progress: (String) -> Void) throws {
        if options.architecture == .vae {
            progress("vae encoder")
            return try measurePictureEncoder(&measured)
        }
        for encoder in model.parts.encoders {
            progress(encoder.name)
            try measure(encoder, &measured)
        }
    }

    private func report(_ measured: Measured) -> ModelReport {
        ModelReport(
            format: ModelReport.format,
            environment: BenchmarkEnvironment(
                device: backend.name, precision: plans.precision, command: options.command),
            architecture: options.architecture.rawValue, width: request.width, height: request.height,
            batch: options.batch, unetBatch: options.batch * guidanceFactor, steps: options.steps,
            stepSeconds: Spread(measured.step), encodeSeconds: Spread(measured.encode),
            promptSeconds: Spread(measured.prompt), decodeSeconds: Spread(measured.decode),
            peakDeviceBytes: backend.peakMemory, peakHostBytes: HostMemory.peak,
            pipelineSeconds: measured.parts.reduce(0) { $0 + $1.pipelineSeconds }, parts: measured.parts,
            layers: measured.layers)
    }

    /// Guidance evaluates the UNet for the negative prompt too.
    private var guidanceFactor: Int { options.isGuided ? 2 : 1 }
    private var latentHeight: Int { request.height / model.parts.autoencoder.downscale }
    private var latentWidth: Int { request.width / model.parts.autoencoder.downscale }

    // MARK: Parts

    private func measure(_ encoder: TextEncoderPart, _ measured: inout Measured) throws {
        let part = try MeasuredPart(encoder.name, on: backend, weights: encoder.weights) {
            try plans.encoder(encoder, batch: guidanceFactor)
        }
        measured.addEncoding(try part.seconds(.prompt, count: options.repeats))
        try measured.add(part, [.prompt])
    }

    private func measureUNet(_ measured: inout Measured) throws {
        let schedule = try model.parts.schedule(request)
        let graph = plans.denoising(request, schedule: schedule, pictures: options.batch)
        let latents = Shape([options.batch, latentHeight, latentWidth, model.parts.autoencoder.latentChannels])
        let inputs = [
            "timesteps": HostTensor([graph.steps], schedule.timesteps),
            "coefficients": graph.coefficients(
                schedule, guidanceScale: request.guidanceScale, guidanceRescale: request.guidanceRescale),
            "latents": HostTensor(
                latents, RandomNumbers.unit(latents).floats.map { $0 * Float(schedule.initNoiseSigma) }),
        ]
        let part = try MeasuredPart("unet", on: backend, weights: model.parts.unetWeights, inputs: inputs) {
            try plans.denoiser(graph)
        }
        func restart() throws {
            for name in ["latents", "step"] {
                try part.executable.write(name, inputs[name] ?? HostTensor([1], [Int32(0)]))
            }
        }
        measured.prompt = try part.seconds(.prompt, count: options.repeats)
        try restart()
        measured.step = try part.seconds(.step, count: options.steps)
        guard try part.executable.statesAreFinite() else {
            throw CalderaError("The UNet's random weights gave numbers that are not finite: use --precision fp32.")
        }
        try restart()
        try measured.add(part, [.prompt, .step])
    }

    private func measureDecoder(_ measured: inout Measured) throws {
        let part = try MeasuredPart("vae decoder", on: backend, weights: model.parts.autoencoderWeights) {
            try plans.decoder(height: latentHeight, width: latentWidth, dtype: plans.autoencoderDType)
        }
        measured.decode = try part.seconds(.prompt, count: options.repeats)
        try measured.add(part, [.prompt])
    }

    private func measurePictureEncoder(_ measured: inout Measured) throws {
        let part = try MeasuredPart("vae encoder", on: backend, weights: model.parts.autoencoderWeights) {
            try plans.pictureEncoder(height: request.height, width: request.width, dtype: plans.autoencoderDType)
        }
        measured.addEncoding(try part.seconds(.prompt, count: options.repeats))
        try measured.add(part, [.prompt])
    }
}
