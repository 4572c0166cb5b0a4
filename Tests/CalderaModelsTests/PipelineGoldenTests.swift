import Caldera
import CalderaDiffusion
import CalderaFormats
import CalderaGraph
import CalderaTestSupport
import Foundation
import Testing

/// Whole runs against diffusers: prompt, seed and steps in, the same last latents and the same picture out.
@Suite(.serialized) struct PipelineGoldenTests {
    static let devices: [TestDevice] = [.cpuFP32, .vulkanFP32, .vulkanFP16]

    @Test("Latents after a whole run equal diffusers'", arguments: ["sd15", "sd21", "sdxl"], devices)
    func tinyModels(model: String, device: TestDevice) throws {
        try check(GoldenModel(model), device)
    }

    @Test("The embedded model's latents and pictures equal diffusers'", arguments: devices)
    func embeddedModel(device: TestDevice) throws {
        try check(GoldenModel(GoldenModel.embedded), device)
    }

    /// dB.
    private func pictureBound(_ device: TestDevice) -> Double { device.precision == .fp16 ? 30 : 45 }

    private func check(_ golden: GoldenModel, _ device: TestDevice) throws {
        try golden.withFolder { folder in
            let model = try ModelLoader.open(ModelOptions(model: folder))
            try device.withBackend { backend in
                let pipeline = try DiffusionPipeline(
                    parts: model.parts, backend: backend, precision: device.precision)
                for run in try golden.runs() { try check(run, golden, pipeline, device) }
            }
        }
    }

    private func check(
        _ run: GoldenRuns.Run, _ golden: GoldenModel, _ pipeline: DiffusionPipeline, _ device: TestDevice
    ) throws {
        let request = PipelineRequest(
            prompt: run.prompt, negativePrompt: run.negativePrompt, width: run.width, height: run.height,
            steps: run.steps, guidanceScale: run.guidanceScale, seeds: PictureSeeds(seeds: run.seeds),
            scheduler: run.scheduler)
        let result = try pipeline.run(request) { _ in }
        let error = relativeL2(result.latents, try golden.golden.channelsLast(run.latents))
        #expect(error <= device.latentsBound, "\(golden.name) \(run.name): relative error \(error)")
        let bytes = Picture.bytes(result.pictures)
        let size = bytes.count / run.seeds.count
        for (index, name) in run.pictures.enumerated() {
            let reference = try PNGFile.read(GoldenModel.fixtures.appending(path: "\(golden.name)/\(name)").path)
            let ratio = psnr(Array(bytes[index * size..<(index + 1) * size]), reference.rgb)
            #expect(ratio >= pictureBound(device), "\(golden.name) \(name): \(ratio) dB")
        }
    }
}
