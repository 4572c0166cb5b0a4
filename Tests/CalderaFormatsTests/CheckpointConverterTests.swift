import CalderaFormats
import CalderaGraph
import CalderaTestSupport
import Foundation
import Testing

@Suite struct CheckpointConverterTests {
    /// What a conversion leaves out: SD2's last layer and projection, which no picture needs, and the logit scale.
    private static func isLeftOut(_ name: String) -> Bool {
        name.hasPrefix("cond_stage_model.model.transformer.resblocks.23.") || name.hasSuffix(".logit_scale")
            || name == "cond_stage_model.model.text_projection"
    }

    @Test(arguments: CheckpointFixture.all)
    func roundTripIsExact(name: String) throws {
        let checkpoint = try NarrowCheckpoint(name)
        let folder = try TemporaryFolder()
        try CheckpointConverter(checkpoint.model).write(to: folder.path("folder"))
        let opened = try ModelSources.open(folder.path("folder"), tokenizers: URL(fileURLWithPath: "/nowhere"))
        #expect(opened.className == checkpoint.model.className)
        #expect(opened.components == checkpoint.model.components)
        for (component, expected) in checkpoint.fixture.components {
            let weights = try opened.weights(component)
            #expect(weights.names == expected.keys.sorted())
            for (tensor, row) in expected { #expect(try weights.withBytes(tensor, crc32) == row.checksum) }
            #expect(try opened.config(component).values == checkpoint.model.config(component).values)
        }
        #expect(try opened.config("scheduler").values == checkpoint.model.config("scheduler").values)

        try CheckpointConverter(opened).write(to: folder.path("single.safetensors"))
        let file = try SafetensorsFile(folder.path("single.safetensors"))
        let original = checkpoint.fixture.narrow
        #expect(file.names == original.names.filter { !Self.isLeftOut($0) }.sorted())
        for tensor in file.names {
            #expect(file.info(tensor) == original.info(tensor), "\(tensor)")
            #expect(try file.withBytes(tensor, crc32) == original.withBytes(tensor, crc32), "\(tensor)")
        }
        #expect(file.metadata == ["format": "pt"])
        #expect(try folder.contents() == ["folder", "single.safetensors"])
    }

    /// The tokenizers that go with a model fill up prompts with the right token.
    @Test func tokenizersAndIndex() throws {
        let folder = try TemporaryFolder()
        try CheckpointConverter(NarrowCheckpoint("sd2").model).write(to: folder.path("sd2"))
        try CheckpointConverter(NarrowCheckpoint("sdxl-refiner").model).write(to: folder.path("refiner"))
        let tokenizer = try JSONConfig(contentsOf: folder.path("sd2/tokenizer/tokenizer_config.json"))
        #expect(try tokenizer.string("pad_token") == "!")
        #expect(FileManager.default.fileExists(atPath: folder.path("sd2/tokenizer/merges.txt")))
        let refiner = try ModelFolder(folder.path("refiner"))
        #expect(refiner.components["text_encoder"] == nil)
        #expect(try refiner.flag("requires_aesthetics_score", default: false))
        #expect(refiner.index.values["tokenizer"] == .array([.null, .null]))
    }

    /// What is written reads back as it was, and whole numbers that transformers takes as floats keep their point.
    @Test func configTexts() throws {
        let text =
            #"{"n": null, "s": "a\"/é\n", "l": [1, 0.5, [true], {}], "o": {"x": 1e-05}, "initializer_factor": 1.0}"#
        let config = try JSONConfig(Data(text.utf8), path: "c")
        let written = try config.data()
        #expect(try JSONConfig(written, path: "c").values == config.values)
        #expect(String(decoding: written, as: UTF8.self).contains("\"initializer_factor\": 1.0,"))
    }

    @Test(arguments: [DType.float16, .bfloat16])
    func roundsToNearestEven(dtype: DType) throws {
        let checkpoint = try NarrowCheckpoint("sd1")
        let folder = try TemporaryFolder()
        let path = folder.path("half.safetensors")
        try CheckpointConverter(checkpoint.model, dtype: dtype).write(to: path)
        let file = try SafetensorsFile(path)
        let original = checkpoint.fixture.narrow
        for tensor in file.names {
            #expect(file.info(tensor) == original.info(tensor).map { WeightInfo(dtype: dtype, shape: $0.shape) })
            let expected = ElementCoding.encoded(try original.values(tensor), as: dtype)
            #expect(try file.withBytes(tensor) { Array($0) } == expected, "\(tensor)")
        }
        // And wider again, without loss.
        let wide = try SingleFileModel(
            file, path: path, tokenizers: TestPaths.embeddedModel, configs: checkpoint.configs)
        try CheckpointConverter(wide, dtype: .float32).write(to: folder.path("wide.safetensors"))
        let tensor = "model.diffusion_model.input_blocks.0.0.weight"
        let floats = try SafetensorsFile(folder.path("wide.safetensors")).withBytes(tensor) {
            Array($0.bindMemory(to: Float.self))
        }
        let halves = try file.withBytes(tensor) { ElementCoding.decoded($0, as: dtype).map(Float.init) }
        #expect(floats == halves)
    }

    @Test func ties() throws {
        let values: [Float] = [1 + 0x1p-11, 1 + 0x3p-11, 0x1p-25, 65_519, -.infinity, .nan, 1 + 0x1p-8, 1 + 0x3p-8]
        let half = try converted(values, .float16)
        #expect(half[0] == 1 && half[1] == 1 + 0x1p-9 && half[2] == 0 && half[3] == 65_504)
        #expect(half[4] == -.infinity && half[5].isNaN)
        let brain = try converted(values, .bfloat16)
        #expect(brain[6] == 1 && brain[7] == 1 + 0x1p-6 && brain[4] == -.infinity && brain[5].isNaN)
    }

    @Test func overflowNamesTheTensor() throws {
        for (value, dtype) in [(Float(65_520), DType.float16), (.greatestFiniteMagnitude, .bfloat16)] {
            let error = #expect(throws: CalderaError.self) { try converted([1, value], dtype) }
            #expect(error?.message.contains("model.diffusion_model.out.2.bias") == true, "\(error?.message ?? "")")
            #expect(error?.message.contains("\(dtype)") == true)
        }
    }

    /// What `out.2.bias` holds after a conversion.
    private func converted(_ values: [Float], _ dtype: DType) throws -> [Double] {
        let checkpoint = try NarrowCheckpoint("sd1")
        let folder = try TemporaryFolder()
        defer { #expect((try? folder.contents().count) ?? 9 <= 1) }
        let special = MemoryWeights(["conv_out.bias": HostTensor([values.count], values)])
        let converter = CheckpointConverter(checkpoint.model, dtype: dtype) { component in
            component == "unet" ? special : try checkpoint.model.weights(component)
        }
        do {
            try converter.write(to: folder.path("x.safetensors"))
        } catch {
            #expect(try folder.contents().isEmpty)
            throw error
        }
        let file = try SafetensorsFile(folder.path("x.safetensors"))
        return try file.withBytes("model.diffusion_model.out.2.bias") { ElementCoding.decoded($0, as: dtype) }
    }

    @Test func marksSurvive() throws {
        let shapes = try CheckpointFixture.load("sdxl").original.mapValues(\.narrow)
        let marked = DeterministicWeights(shapes.merging(["v_pred": [0], "ztsnr": [0]]) { first, _ in first })
        let folder = try TemporaryFolder()
        try CheckpointConverter(NarrowCheckpoint("sdxl", weights: marked).model).write(to: folder.path("folder"))
        let opened = try ModelFolder(folder.path("folder"))
        #expect(try opened.config("scheduler").string("prediction_type") == "v_prediction")
        #expect(try opened.config("scheduler").bool("rescale_betas_zero_snr"))
        try CheckpointConverter(opened).write(to: folder.path("single.safetensors"))
        let names = try SafetensorsFile(folder.path("single.safetensors")).names
        #expect(names.contains("v_pred") && names.contains("ztsnr"))
    }

    /// What SD2 predicts is not lost on the way to a single file, whatever that is called.
    @Test(arguments: CheckpointPrediction.allCases)
    func predictionOfSD2Survives(prediction: CheckpointPrediction) throws {
        let checkpoint = try NarrowCheckpoint("sd2")
        let file = try CheckpointFixture.load("sd2").narrow
        let asked = try SingleFileModel(
            file, path: "x", tokenizers: TestPaths.embeddedModel, prediction: prediction, configs: checkpoint.configs)
        let folder = try TemporaryFolder()
        let path = folder.path("model.safetensors")
        try CheckpointConverter(asked).write(to: path)
        let written = try SingleFileModel(path, tokenizers: TestPaths.embeddedModel, configs: checkpoint.configs)
        #expect(written.recognition.prediction == prediction)
        #expect(try written.config("scheduler").string("prediction_type") == prediction.rawValue)
    }

    /// The embedded model's config of the autoencoder, with the latents' statistics of Playground v2.5 put in.
    @Test func edmMarks() throws {
        let folder = try TemporaryFolder()
        try FileManager.default.copyItem(atPath: TestPaths.embeddedModel.path, toPath: folder.path("model"))
        let config = try JSONConfig(contentsOf: folder.path("model/vae/config.json"))
        var values = config.values
        values["latents_mean"] = .array([.double(0.5), .int(1), .int(2), .int(3)])
        values["latents_std"] = .array([.int(4), .int(5), .int(6), .int(7)])
        try folder.write("model/vae/config.json", JSONConfig(values, path: "").data())
        try CheckpointConverter(ModelFolder(folder.path("model"))).write(to: folder.path("x.safetensors"))
        let file = try SafetensorsFile(folder.path("x.safetensors"))
        #expect(try file.withBytes("edm_mean") { Array($0.bindMemory(to: Float.self)) } == [0.5, 1, 2, 3])
        #expect(try file.withBytes("edm_std") { Array($0.bindMemory(to: Float.self)) } == [4, 5, 6, 7])
    }

    @Test func failuresLeaveNothing() throws {
        let checkpoint = try NarrowCheckpoint("sd1")
        let folder = try TemporaryFolder()
        let broken = CheckpointConverter(checkpoint.model) { component in
            component == "text_encoder" ? ShapesOnly(["text_model.x": [2]]) : try checkpoint.model.weights(component)
        }
        let error = #expect(throws: CalderaError.self) { try broken.write(to: folder.path("out")) }
        #expect(error?.message == "text_model.x has no values.")
        #expect(try folder.contents().isEmpty)
        #expect(AtomicFile.pendingPaths.allSatisfy { !$0.contains(folder.url.lastPathComponent) })

        try folder.write("taken/file", "x")
        for (path, kind) in [
            (folder.path("taken"), CalderaError.Kind.usage), (folder.path("taken/file"), .usage),
            (folder.path("x.ckpt"), .usage), (folder.path("missing/out"), .failed),
            (folder.path("missing/out.safetensors"), .failed), ("/dev/full", .usage),
        ] {
            let error = #expect(throws: CalderaError.self) { try CheckpointConverter(checkpoint.model).write(to: path) }
            #expect(error?.kind == kind, "\(path): \(error?.message ?? "")")
        }
        #expect(try folder.contents() == ["taken"])
        let full = #expect(throws: CalderaError.self) {
            try CheckpointConverter(checkpoint.model).writeSingleFile(to: "/dev/full")
        }
        #expect(full?.message.contains("the disk is full") == true)
    }

    @Test func foreignPipelinesAndTypes() throws {
        let folder = try TemporaryFolder()
        try folder.write("model/model_index.json", #"{"_class_name": "FluxPipeline"}"#)
        let error = #expect(throws: CalderaError.self) {
            try CheckpointConverter(ModelFolder(folder.path("model"))).write(to: folder.path("x.safetensors"))
        }
        #expect(error?.message.contains("FluxPipeline") == true)
        // A tensor of a type that is not read is an error, not left out.
        let checkpoint = try NarrowCheckpoint("sd1")
        let converter = CheckpointConverter(checkpoint.model) { component in
            component == "vae"
                ? ShapesOnly(["encoder.conv_in.weight": [2]], dtype: nil) : try checkpoint.model.weights(component)
        }
        #expect(throws: CalderaError.self) { try converter.write(to: folder.path("x.safetensors")) }
        #expect(try folder.contents() == ["model"])
    }
}
