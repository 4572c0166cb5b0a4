import CalderaCPU
import CalderaDiffusion
import CalderaFormats
import CalderaGraph
import CalderaModels
import CalderaTestSupport
import Foundation
import Testing

/// Networks that differ from those of the model families, against diffusers, on every backend and precision.
@Suite(.serialized) struct VariantGoldenTests {
    private static func cases(_ networks: [String]) -> [(String, TestDevice)] {
        networks.flatMap { network in TestDevice.available.map { (network, $0) } }
    }

    @Test(
        "UNets for inpainting, with a guidance embedding, and Playground's equal diffusers'",
        arguments: cases(["inpainting", "lcm", "lcm_sd15", "playground25"]))
    func unet(network: String, device: TestDevice) throws {
        try run(network, device) { run in
            for group in ["unet", "unet_odd", "unet_unconditioned"] where run.model.holds("\(group).sample") {
                let error = try run.unet(group)
                #expect(error <= device.networkBound, "\(group): relative error \(error)")
            }
        }
    }

    @Test("Tiny and normalised autoencoders equal diffusers'", arguments: cases(["taesd", "playground25"]))
    func autoencoder(network: String, device: TestDevice) throws {
        try run(network, device) { run in
            for group in ["vae", "vae_odd"] where run.model.holds("\(group).latents") {
                let (decoder, encoder) = (try run.decoder(group), try run.encoder(group))
                #expect(decoder <= device.networkBound, "\(group): the decoder's relative error is \(decoder)")
                #expect(encoder <= device.networkBound, "\(group): the encoder's relative error is \(encoder)")
            }
        }
    }

    @Test func latentsAreScaledByChannelInBothDirections() throws {
        let model = try GoldenModel(network: "playground25")
        let scale = try makeAutoencoder(model.config("vae")).latentScale
        let golden = model.golden
        let decoded = try relativeL2(
            scale.decoderInput(golden.channelsLast("scale.latents")), golden.channelsLast("vae.latents"))
        let encoded = try relativeL2(
            scale.modelInput(golden.channelsLast("scale.encoded")), golden.channelsLast("scale.model_input"))
        #expect(decoded <= 1e-6 && encoded <= 1e-6)
    }

    /// Angles of thousands of radians in fp32, whose last digits no two libraries share.
    @Test func theGuidanceScaleIsEmbeddedAsDiffusersDoes() throws {
        let golden = try GoldenModel(network: "lcm").golden.tensor("unet.timestep_cond")
        let values = [8.5, 1.5].flatMap { GuidanceEmbedding.values(guidanceScale: $0, channels: golden.shape[1]) }
        #expect(relativeL2(HostTensor(golden.shape, values), golden) <= 1e-3)
        #expect(GuidanceEmbedding.values(guidanceScale: 2, channels: 7).count == 7)
    }

    @Test func aConditionThatTheUNetDoesNotTakeIsRefused() throws {
        let graph = Graph(dtype: .float32)
        let unet = UNet(try UNetConfig(GoldenModel(network: "inpainting").config("unet")))
        let error = #expect(throws: CalderaError.self) {
            _ = try unet(
                graph, sample: graph.input("sample", [1, 8, 8, 9], .float32),
                UNet.Conditioning(
                    timesteps: graph.input("timesteps", [1], .float32), step: graph.state("step", [1], .int32),
                    context: graph.input("context", [1, 77, 32], .float32), added: nil,
                    timestepCondition: graph.input("condition", [1, 24], .float32)))
        }
        #expect(error?.message.contains("time_cond_proj_dim") == true)
    }

    private func run(_ network: String, _ device: TestDevice, _ body: (GoldenRun) throws -> Void) throws {
        let golden = try GoldenModel(network: network)
        try device.withBackend { backend in
            try body(GoldenRun(model: golden, backend: backend, dtype: device.precision.dtype))
        }
    }
}

/// A decoder that fp32 computes and fp16 cannot.
@Suite(.serialized) struct OverflowTests {
    @Test("Activations beyond 65,504 are exact in fp32 and lost in fp16", arguments: TestDevice.available)
    func decoder(device: TestDevice) throws {
        let base = try GoldenModel("sdxl")
        let factors = TestPaths.fixture("networks/overflow/factors.json", of: "CalderaModelsTests")
        let golden = try GoldenModel(network: "overflow").golden
        let latents = try golden.channelsLast("vae.latents")
        let graph = Graph(dtype: device.precision.dtype)
        let input = graph.input("latents", latents.shape, graph.dtype)
        graph.output("decoded", try makeAutoencoder(base.config("vae")).decode(graph, latents: input))
        try device.withBackend { backend in
            let plan = try Planner.plan(graph, limits: backend.limits)
            let weights = try ScaledWeights(base.weights("vae"), factors: factors)
            let executable = try backend.compile(plan, weights: weights)
            try executable.write("latents", latents)
            try executable.run(.prompt)
            let picture = try executable.read("decoded")
            if device.precision == .fp16 {
                #expect(picture.floats.contains { !$0.isFinite })
            } else {
                let error = try relativeL2(picture, golden.channelsLast("vae.decoded"))
                #expect(error <= device.networkBound, "relative error \(error)")
            }
        }
    }
}

/// TAESD's own names.
@Suite struct TinyAutoencoderNamesTests {
    /// As many as diffusers' `AutoencoderTiny()` has.
    @Test func theStandardNetworkHasTAESDsWeights() throws {
        let autoencoder = try makeAutoencoder(
            JSONConfig(["_class_name": .string("AutoencoderTiny")], path: "vae/config.json"))
        let graph = Graph(dtype: .float32)
        let picture = try autoencoder.decode(graph, latents: graph.input("latents", [1, 8, 8, 4], .float32))
        #expect(picture.shape == [1, 64, 64, 3])
        #expect(try autoencoder.encode(graph, picture: picture).shape == [1, 8, 8, 4])
        #expect(graph.weights.count == 134)
        #expect(graph.weights.reduce(0) { $0 + $1.shape.count } == 2_445_063)
    }

    /// The weights of one half under the numbers that their authors' files give them.
    private func original(_ weights: any WeightSource, half: String, shift: Int) throws -> MemoryWeights {
        var tensors: [String: HostTensor] = [:]
        for name in weights.names where name.hasPrefix("\(half).layers.") {
            let parts = name.dropFirst("\(half).layers.".count).split(separator: ".", maxSplits: 1)
            let (number, info) = (try #require(Int(parts[0])), try #require(weights.info(name)))
            let values = try weights.withBytes(name) { ElementCoding.decoded($0, as: .float32).map { Float($0) } }
            tensors["\(number + shift).\(parts[1])"] = HostTensor(info.shape, values)
        }
        return MemoryWeights(tensors)
    }

    @Test func originalFilesTakeDiffusersNames() throws {
        let weights = try GoldenModel(network: "taesd").weights("vae")
        for (half, shift, first) in [("encoder", 0, "0.weight"), ("decoder", 1, "1.weight")] {
            let file = try original(weights, half: half, shift: shift)
            #expect(file.info(first) != nil)
            let renamed = RenamedWeights.tinyAutoencoder(file)
            #expect(renamed.names.sorted() == weights.names.filter { $0.hasPrefix(half) }.sorted())
            for name in renamed.names {
                #expect(renamed.info(name) == weights.info(name), "\(name)")
                let (left, right) = (
                    try renamed.withBytes(name) { Array($0) }, try weights.withBytes(name) { Array($0) }
                )
                #expect(left == right, "\(name)")
            }
        }
        #expect(RenamedWeights.tinyAutoencoder(weights) === weights)
    }
}
