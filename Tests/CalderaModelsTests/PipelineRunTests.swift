import Caldera
import CalderaDiffusion
import CalderaGraph
import CalderaTestSupport
import Foundation
import Testing

/// Pipelines of every kind against diffusers': text to image with every scheduler, image to image, inpainting, base and
/// refiner as an ensemble. The last latents must be the same.
@Suite(.serialized) struct PipelineRunTests {
    static let fixture = TestPaths.fixture("pipelines", of: "CalderaModelsTests")

    /// The runs of one family, which share an opened model.
    static func families() throws -> [String] { Set(try GoldenPipelines(fixture).runs.map(\.family)).sorted() }

    @Test("Every run on the processor", arguments: try families())
    func everyRun(family: String) throws {
        let runs = try GoldenPipelines(Self.fixture).runs.filter { $0.family == family }
        #expect(!runs.isEmpty)
        try check(runs, on: .cpuFP32)
    }

    /// One run for each way through the code that a backend sees: blending, further channels, several states of the
    /// scheduler, guidance rescale, a guidance embedding, two UNets in turn.
    @Test(
        "What differs on the device",
        arguments: [
            "inpaint_sd15_euler_60", "inpaint_sd15_inpaint_euler_100", "scheduler_sd15_unipc", "sd15_rescale", "lcm",
            "img2img_sd15_negative", "ensemble_euler_20",
        ], [TestDevice.vulkanFP32, .vulkanFP16])
    func onTheDevice(name: String, device: TestDevice) throws {
        let run = try #require(try GoldenPipelines(Self.fixture).runs.first { $0.name == name })
        try check([run], on: device)
    }

    private func check(_ runs: [GoldenPipelines.Run], on device: TestDevice) throws {
        let golden = try GoldenPipelines(Self.fixture).golden
        try device.withBackend { backend in
            for run in runs {
                try GoldenModel.withParts(of: run.family) { parts in
                    try withRefiner(run) { refiner in
                        let pipeline = try DiffusionPipeline(
                            parts: parts.overriding(run.schedulerOptions),
                            refiner: refiner?.overriding(run.schedulerOptions),
                            backend: backend, precision: device.precision)
                        let result = try pipeline.run(request(run, golden)) { _ in }
                        let error = relativeL2(result.latents, try golden.channelsLast(run.latents))
                        #expect(error <= device.latentsBound, "\(run.name): relative error \(error)")
                    }
                }
            }
        }
    }

    private func withRefiner(_ run: GoldenPipelines.Run, _ body: (PipelineParts?) throws -> Void) throws {
        guard let family = run.refinerFamily else { return try body(nil) }
        try GoldenModel.withParts(of: family, body)
    }

    private func request(_ run: GoldenPipelines.Run, _ golden: GoldenFile) throws -> PipelineRequest {
        var request = PipelineRequest(
            prompt: run.prompt, negativePrompt: run.negativePrompt, width: run.width, height: run.height,
            steps: run.steps, guidanceScale: run.guidanceScale, seeds: PictureSeeds(seeds: run.seeds),
            scheduler: run.scheduler)
        request.guidanceRescale = run.guidanceRescale ?? 0
        request.clipSkip = run.clipSkip
        request.eta = run.eta
        request.grid =
            run.timesteps.map(ScheduleRequest.CustomGrid.timesteps)
            ?? run.sigmas.map(ScheduleRequest.CustomGrid.sigmas)
        request.refinerStart = run.denoisingEnd
        request.sizes.original = run.originalSize.map(SizeConditioning.Extent.init)
        request.sizes.target = run.targetSize.map(SizeConditioning.Extent.init)
        if let crop = run.cropsCoordsTopLeft { request.sizes.crop = SizeConditioning.Extent(crop) }
        if let score = run.aestheticScore { request.sizes.aestheticScore = score }
        if let score = run.negativeAestheticScore { request.sizes.negativeAestheticScore = score }
        if let image = run.image {
            let picture = try golden.channelsLast(image)
            request.source = SourcePicture(
                picture: HostTensor(picture.shape, picture.floats.map { 2 * $0 - 1 }),
                mask: try run.mask.map(golden.channelsLast), strength: run.strength ?? 1)
        }
        return request
    }
}

extension SizeConditioning.Extent {
    /// Height, then width.
    fileprivate init(_ sides: [Int]) { self.init(height: sides[0], width: sides[1]) }
}

extension PipelineParts {
    /// The same with other values in scheduler_config.json.
    fileprivate func overriding(_ options: [String: JSONValue]?) throws -> PipelineParts {
        try replacing(scheduler: scheduler.overriding((options ?? [:]).mapValues(SchedulerConfig.Value.init)))
    }
}

extension SchedulerConfig.Value {
    fileprivate init(_ value: JSONValue) throws {
        switch value {
        case .bool(let flag): self = .flag(flag)
        case .int(let number): self = .number(Double(number))
        case .double(let number): self = .number(number)
        case .string(let text): self = .string(text)
        default: throw CalderaError("A golden run has a scheduler option that is \(value).")
        }
    }
}
