import Caldera
import CalderaDiffusion
import CalderaGraph
import CalderaModels
import CalderaTestSupport
import Testing

/// A decoder whose activations leave fp16's range behind never makes a black picture.
@Suite(.serialized) struct DecoderRangeTests {
    static let cases = TestDevice.available.flatMap { device in [true, false].map { (device, $0) } }

    @Test("The picture is fp32's within 40 dB, whatever force_upcast says", arguments: cases)
    func overflow(device: TestDevice, forcesUpcast: Bool) throws {
        let golden = try GoldenModel(network: "overflow").golden
        let expected = try Picture.bytes(golden.channelsLast("vae.decoded"))
        try withOverflow(device, forcesUpcast: forcesUpcast) { pipeline, backend in
            let scale = try makeAutoencoder(GoldenModel("sdxl").config("vae")).latentScale
            let latents = try scale.modelInput(golden.channelsLast("vae.latents"))
            let picture = try pipeline.decode(latents)
            let ratio = psnr(Picture.bytes(picture), expected)
            #expect(ratio >= 40, "\(ratio) dB")
            // Where the config does not warn, the first attempt shows that fp32 is needed.
            if device == .vulkanFP16 {
                #expect(backend.compiled == (forcesUpcast ? [.float32] : [.float16, .float32]))
            } else {
                #expect(backend.compiled.count == 1)
            }
        }
    }

    @Test("A batch that needs fp32 loads it once") func batch() throws {
        let golden = try GoldenModel(network: "overflow").golden
        let latents = try golden.channelsLast("vae.latents")
        try withOverflow(.vulkanFP16, forcesUpcast: false) { pipeline, backend in
            let pictures = try pipeline.decode(HostTensor.stacked([latents, latents, latents]))
            let single = try pipeline.decode(latents)
            #expect(pictures.bits == single.bits + single.bits + single.bits)
            #expect(backend.compiled == [.float16, .float32, .float16, .float32])
        }
    }

    private func withOverflow(
        _ device: TestDevice, forcesUpcast: Bool, _ body: (DiffusionPipeline, RecordingBackend) throws -> Void
    ) throws {
        let config = try GoldenModel("sdxl").config("vae")
        let values = config.values.merging(["force_upcast": .bool(forcesUpcast)]) { _, new in new }
        let autoencoder = try makeAutoencoder(JSONConfig(values, path: config.path))
        let factors = TestPaths.fixture("networks/overflow/factors.json", of: "CalderaModelsTests")
        try GoldenModel.withParts(of: "sdxl") { parts in
            let weights = try ScaledWeights(parts.autoencoderWeights, factors: factors)
            try device.withBackend { backend in
                let recording = RecordingBackend(backend)
                let pipeline = try DiffusionPipeline(
                    parts: parts.replacing(autoencoder: autoencoder, weights: weights), backend: recording,
                    precision: device.precision)
                try body(pipeline, recording)
            }
        }
    }
}
