import CalderaGraph
import CalderaTestSupport
import Testing

/// Each network against diffusers and transformers, on identical inputs, on every backend and precision.
@Suite(.serialized) struct NetworkGoldenTests {
    static let cases = (TinyModel.families + [GoldenModel.embedded]).flatMap { model in
        TestDevice.available.map { (model, $0) }
    }

    @Test("Text encoders equal transformers'", arguments: cases)
    func textEncoders(model: String, device: TestDevice) throws {
        try run(model, device) { run in
            for part in ["text_encoder", "text_encoder_2"] where run.model.has(part) {
                for (output, error) in try run.textEncoder(part) {
                    #expect(error <= device.networkBound, "\(part) \(output): relative error \(error)")
                }
            }
        }
    }

    @Test("The UNet equals diffusers', odd sizes too", arguments: cases)
    func unet(model: String, device: TestDevice) throws {
        try run(model, device) { run in
            for group in ["unet", "unet_odd"] where run.model.holds("\(group).sample") {
                let error = try run.unet(group)
                #expect(error <= device.networkBound, "\(group): relative error \(error)")
            }
        }
    }

    @Test("The decoder equals diffusers', odd sizes too", arguments: cases)
    func decoder(model: String, device: TestDevice) throws {
        try run(model, device) { run in
            for group in ["vae", "vae_odd"] where run.model.holds("\(group).latents") {
                let error = try run.decoder(group)
                #expect(error <= device.networkBound, "\(group): relative error \(error)")
            }
        }
    }

    @Test("The encoder equals diffusers', odd sizes too", arguments: cases)
    func encoder(model: String, device: TestDevice) throws {
        try run(model, device) { run in
            for group in ["vae", "vae_odd"] where run.model.holds("\(group).image") {
                let error = try run.encoder(group)
                #expect(error <= device.networkBound, "\(group): relative error \(error)")
            }
        }
    }

    private func run(_ model: String, _ device: TestDevice, _ body: (GoldenRun) throws -> Void) throws {
        let golden = try GoldenModel(model)
        try device.withBackend { backend in
            try body(GoldenRun(model: golden, backend: backend, dtype: device.precision.dtype))
        }
    }
}
