import Caldera
import CalderaCPU
import CalderaDiffusion
import CalderaFormats
import CalderaGraph
import CalderaModels
import CalderaTestSupport
import Foundation
import Testing

/// TAESD in a pipeline: as its autoencoder, and for previews.
@Suite(.serialized) struct TinyAutoencoderPipelineTests {
    /// diffusers divides by the autoencoder's own scaling_factor, which is 1 for TAESD: it takes the sampler's latents.
    @Test("It decodes the sampler's latents and encodes into them, as they are") func latents() throws {
        try withTAESD { parts, taesd in
            let pipeline = try DiffusionPipeline(parts: taesd, backend: CPUBackend(), precision: .fp32)
            #expect(taesd.autoencoder.latentScale.scalingFactor == 1)
            let golden = try GoldenModel(network: "taesd").golden
            let latents = try golden.channelsLast("vae.latents")
            #expect(try relativeL2(pipeline.decode(latents), golden.channelsLast("vae.decoded")) < 1e-4)
            let picture = try golden.channelsLast("vae.image")
            let encoded = try golden.channelsLast("vae.encoded")
            let count = picture.shape.count / picture.shape[0]
            let first = HostTensor(Shape([1] + picture.shape.extents.dropFirst()), Array(picture.floats.prefix(count)))
            let own = try pipeline.encode(first, seed: 1)
            #expect(
                relativeL2(own, HostTensor(own.shape, Array(encoded.floats.prefix(own.shape.count)))) < 1e-4)
            #expect(parts.autoencoder.latentScale.scalingFactor != 1)
        }
    }

    @Test("Image to image runs with it") func imageToImage() throws {
        try withTAESD { _, taesd in
            let pipeline = try DiffusionPipeline(parts: taesd, backend: CPUBackend(), precision: .fp32)
            var request = PipelineRequest.small(scheduler: "ddim")
            request.steps = 4
            request.source = SourcePicture(picture: .scene(height: 48, width: 64), mask: nil, strength: 0.5)
            let result = try pipeline.run(request)
            #expect(result.timings.steps.count == 2)
            #expect(result.pictures.shape == [1, 48, 64, 3])
        }
    }

    @Test(
        "The last preview is the decoded end of a deterministic run", arguments: ["euler", "ddim", "dpmpp_2m", "heun"])
    func lastPreview(scheduler: String) throws {
        try withTAESD { parts, taesd in
            // SD 1.5's config lets DDIM end a little before the clean latents.
            let config = taesd.scheduler.overriding(["set_alpha_to_one": .flag(true)])
            let pipeline = try DiffusionPipeline(
                parts: taesd.replacing(scheduler: config), backend: CPUBackend(), precision: .fp32)
            pipeline.previewDecoder = try PreviewDecoder(
                taesd.autoencoder, weights: taesd.autoencoderWeights, for: taesd, backend: CPUBackend(),
                precision: .fp32)
            var request = PipelineRequest.small(scheduler: scheduler)
            request.steps = 4
            var previews: [HostTensor] = []
            let result = try pipeline.run(request) { if case .preview(let picture) = $0 { previews.append(picture) } }
            #expect(previews.count == result.timings.steps.count)
            let last = try #require(previews.last)
            let error = relativeL2(last, result.pictures)
            #expect(error < 1e-3, "\(error)")
            #expect(relativeL2(previews[0], result.pictures) > 10 * error)
        }
    }

    /// Playground v2.5's latents are preconditioned; its preview decoder is the model's own here.
    @Test("So it is for a model with a preconditioning", arguments: ["edm_euler", "edm_dpmpp_2m"])
    func preconditioned(scheduler: String) throws {
        try GoldenModel.withParts(of: "playground_v25") { parts in
            let pipeline = try DiffusionPipeline(parts: parts, backend: CPUBackend(), precision: .fp32)
            pipeline.previewDecoder = try PreviewDecoder(
                parts.autoencoder, weights: parts.autoencoderWeights, for: parts, backend: CPUBackend(),
                precision: .fp32)
            var previews: [HostTensor] = []
            let result = try pipeline.run(.small(scheduler: scheduler)) {
                if case .preview(let picture) = $0 { previews.append(picture) }
            }
            let error = try relativeL2(#require(previews.last), result.pictures)
            #expect(error < 1e-3, "\(error)")
        }
    }

    @Test("Previews change nothing of the picture") func bystander() throws {
        try withTAESD { _, taesd in
            let pipeline = try DiffusionPipeline(parts: taesd, backend: CPUBackend(), precision: .fp32)
            let plain = try pipeline.run(.small())
            pipeline.previewDecoder = try PreviewDecoder(
                taesd.autoencoder, weights: taesd.autoencoderWeights, for: taesd, backend: CPUBackend(),
                precision: .fp32)
            #expect(try pipeline.run(.small()).pictures.bits == plain.pictures.bits)
        }
    }

    /// The parts of a tiny SD 1.5, and the same with a tiny TAESD as autoencoder.
    private func withTAESD(_ body: (PipelineParts, PipelineParts) throws -> Void) throws {
        let network = try GoldenModel(network: "taesd")
        try GoldenModel.withParts(of: "sd15") { parts in
            let taesd = parts.replacing(
                autoencoder: try makeAutoencoder(network.config("vae")), weights: try network.weights("vae"))
            try body(parts, taesd)
        }
    }
}

/// TAESD from the files that its author publishes.
@Suite(.serialized) struct TinyAutoencoderFileTests {
    /// The folder and both bare files hold the same random network of TAESD's true shape.
    @Test("A folder and its bare files make the same pictures") func files() throws {
        let temporary = try TemporaryFolder()
        let weights = try Self.standardWeights()
        let all = weights.names.compactMap { name in try? (name, weights.values(name)) }
        func tensors(_ half: String?, shift: Int) -> [SafetensorsWriter.Tensor] {
            all.compactMap { name, values in
                let shape = weights.info(name)?.shape ?? []
                guard let half else { return SafetensorsWriter.Tensor(name, HostTensor(shape, values)) }
                guard name.hasPrefix("\(half).layers.") else { return nil }
                let parts = name.dropFirst("\(half).layers.".count).split(separator: ".", maxSplits: 1)
                guard let number = Int(parts[0]) else { return nil }
                return SafetensorsWriter.Tensor("\(number + shift).\(parts[1])", HostTensor(shape, values))
            }
        }
        try temporary.write("taesd/config.json", #"{"_class_name": "AutoencoderTiny"}"#)
        let folder = temporary.path("taesd")
        try SafetensorsWriter.write(
            tensors(nil, shift: 0), metadata: [:], to: folder + "/diffusion_pytorch_model.safetensors")
        let (decoder, encoder) = (
            temporary.path("taesd_decoder.safetensors"), temporary.path("taesd_encoder.safetensors")
        )
        try SafetensorsWriter.write(tensors("decoder", shift: 1), metadata: [:], to: decoder)
        try SafetensorsWriter.write(tensors("encoder", shift: 0), metadata: [:], to: encoder)

        let model = temporary.path("model")
        try TinyModel(GoldenModel.fixtures.appending(path: "sd15")).write(
            to: URL(fileURLWithPath: model), embeddedModel: TestPaths.embeddedModel)
        let whole = try pipeline(model, folder)
        let bare = try pipeline(model, decoder)
        let result = try whole.run(.small())
        #expect(try bare.run(.small()).pictures.bits == result.pictures.bits)
        #expect(try pipeline(model, nil).run(.small()).latents.bits == result.latents.bits)

        var request = PipelineRequest.small()
        request.source = SourcePicture(picture: .scene(height: 48, width: 64), mask: nil, strength: 1)
        _ = try whole.run(request)
        // One half of TAESD cannot do the other's work.
        let noEncoder = #expect(throws: CalderaError.self) { try bare.run(request) }
        #expect(noEncoder?.message.contains("encoder.layers.0.weight") == true)
        let noDecoder = #expect(throws: CalderaError.self) { try pipeline(model, encoder) }
        #expect(noDecoder?.message.contains("the encoder of a TAESD alone") == true)
    }

    private func pipeline(_ model: String, _ autoencoder: String?) throws -> DiffusionPipeline {
        var options = ModelOptions(model: model)
        options.autoencoder = autoencoder
        return try DiffusionPipeline(
            parts: ModelLoader.open(options).parts, backend: CPUBackend(), precision: .fp32)
    }

    private static func standardWeights() throws -> DeterministicWeights {
        let autoencoder = try makeAutoencoder(
            JSONConfig(["_class_name": .string("AutoencoderTiny")], path: "config.json"))
        let graph = Graph(dtype: .float32)
        let picture = try autoencoder.decode(graph, latents: graph.input("latents", [1, 8, 8, 4], .float32))
        graph.output("latents again", try autoencoder.encode(graph, picture: picture))
        let shapes = graph.weights.map { ($0.name, $0.shape) }
        return DeterministicWeights(Dictionary(uniqueKeysWithValues: shapes))
    }
}
