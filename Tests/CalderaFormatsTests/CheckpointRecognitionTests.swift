import CalderaFormats
import CalderaGraph
import CalderaTestSupport
import Foundation
import Testing

@Suite struct CheckpointRecognitionTests {
    private static let firstConvolution = "model.diffusion_model.input_blocks.0.0.weight"

    private func open(
        _ weights: any WeightSource, _ path: String = "model.safetensors", _ prediction: CheckpointPrediction? = nil
    ) throws -> SingleFileModel {
        try SingleFileModel(weights, path: path, tokenizers: TestPaths.embeddedModel, prediction: prediction)
    }

    private func header(_ name: String, channels: Int = 4) throws -> ShapesOnly {
        let width = name == "sdxl-refiner" ? 384 : 320
        return try CheckpointFixture.load(name).header.with([Self.firstConvolution: [width, channels, 3, 3]])
    }

    private func message(_ weights: any WeightSource, _ path: String = "x.safetensors") -> String {
        do {
            return "recognised: \(try open(weights, path).note)"
        } catch let error as CalderaError {
            return error.message
        } catch {
            return "\(error)"
        }
    }

    /// Our names for what diffusers' `infer_diffusers_model_type` finds.
    @Test(arguments: zip(CheckpointFixture.all, ["v1", "v2", "xl_base", "xl_refiner"]))
    func agreesWithDiffusers(name: String, type: String) throws {
        #expect(try CheckpointFixture.load(name).type == type)
        let model = try open(header(name))
        #expect(model.recognition.architecture.rawValue == name)
        #expect(model.note.hasPrefix("recognised as \(model.recognition.architecture.title) because "))
    }

    @Test func saysWhy() throws {
        let note = try open(header("sd1")).note
        #expect(
            note == "recognised as Stable Diffusion 1.x because model.diffusion_model.input_blocks.2.1."
                + "transformer_blocks.0.attn2.to_k.weight has the shape [320, 768]")
        #expect(try open(header("sdxl", channels: 9)).note.hasSuffix("its first convolution takes 9 channels"))
    }

    @Test(
        arguments: [
            ("sd1", "StableDiffusionPipeline", "StableDiffusionInpaintPipeline"),
            ("sd2", "StableDiffusionPipeline", "StableDiffusionInpaintPipeline"),
            ("sdxl", "StableDiffusionXLPipeline", "StableDiffusionXLInpaintPipeline"),
        ])
    func inpainting(name: String, plain: String, inpainting: String) throws {
        #expect(try open(header(name)).className == plain)
        let model = try open(header(name, channels: 9))
        #expect(model.className == inpainting)
        #expect(model.recognition.architecture.rawValue == "\(name)-inpainting")
        #expect(try model.config("unet").int("in_channels") == 9)
        #expect(model.recognition.prediction == .epsilon)
    }

    @Test(
        arguments: [
            ("v2-1_768-ema-pruned.safetensors", nil, .velocity, 96),
            ("v2-1_512-ema-pruned.safetensors", nil, .epsilon, 64),
            ("512-base-ema.ckpt", nil, .epsilon, 64),
            ("/data/512/model.safetensors", nil, .velocity, 96),
            ("v2-1_768-ema-pruned.safetensors", .epsilon, .epsilon, 64),
            ("v2-1_512-ema-pruned.safetensors", .velocity, .velocity, 96),
        ] as [(String, CheckpointPrediction?, CheckpointPrediction, Int)])
    func predictionOfSD2(path: String, asked: CheckpointPrediction?, expected: CheckpointPrediction, size: Int) throws {
        let model = try open(header("sd2"), path, asked)
        #expect(model.recognition.prediction == expected)
        #expect(try model.config("scheduler").string("prediction_type") == expected.rawValue)
        #expect(try model.config("unet").int("sample_size") == size)
        #expect(try model.config("scheduler").has("_class_name"))
    }

    /// diffusers' rule, from a file whose step is an int64; the file has its true size but takes no room.
    @Test func globalStep() throws {
        let folder = try TemporaryFolder()
        let shapes = try CheckpointFixture.load("sd2").original.mapValues(\.shape)
        for (step, expected) in [(875_000, CheckpointPrediction.epsilon), (110_000, .velocity)] {
            var members = [#""global_step":{"dtype":"I64","shape":[],"data_offsets":[0,8]}"#]
            var end = 8
            for (name, shape) in shapes {
                let begin = end
                end += 2 * shape.count
                members.append(
                    "\"\(name)\":{\"dtype\":\"F16\",\"shape\":\(shape),\"data_offsets\":[\(begin),\(end)]}")
            }
            let header = "{\(members.joined(separator: ","))}"
            var data = safetensors(header)
            withUnsafeBytes(of: Int64(step).littleEndian) { data.append(contentsOf: $0) }
            let path = try folder.write("x.safetensors", data)
            #expect(truncate(path, 8 + header.utf8.count + end) == 0)
            let model = try ModelSources.open(path, tokenizers: TestPaths.embeddedModel)
            #expect(try model.config("scheduler").string("prediction_type") == expected.rawValue)
            #expect(try model.weights("unet").withBytes("conv_in.weight") { $0.count } == 2 * 320 * 4 * 9)
        }
    }

    @Test func marks() throws {
        let velocity = try open(header("sdxl").with(["v_pred": [0], "ztsnr": [0]]))
        #expect(velocity.recognition.prediction == .velocity)
        #expect(try velocity.config("scheduler").bool("rescale_betas_zero_snr"))
        #expect(velocity.note.contains("v_pred"))
        let plain = try open(header("sdxl"))
        #expect(try !plain.config("scheduler").has("rescale_betas_zero_snr"))
        #expect(try plain.config("scheduler").string("prediction_type") == "epsilon")
    }

    @Test func playground() throws {
        let edm = ["edm_mean": Shape([1, 4, 1, 1]), "edm_std": [1, 4, 1, 1]]
        let shapes = try header("sdxl").with(edm)
        let values = [
            "edm_mean": HostTensor([1, 4, 1, 1], [1.0, 2, 3, 4]), "edm_std": HostTensor([4], [5.0, 6, 7, 8]),
        ]
        let model = try open(Layered(MemoryWeights(values), shapes))
        #expect(model.recognition.architecture == .playground25)
        #expect(try model.config("scheduler").string("_class_name") == "EDMDPMSolverMultistepScheduler")
        #expect(try model.config("vae").doubles("latents_mean") == [1, 2, 3, 4])
        #expect(try model.config("vae").doubles("latents_std") == [5, 6, 7, 8])
        #expect(try model.config("vae").double("scaling_factor") == 0.5)
        #expect(try model.settings().double("guidance_scale") == 3)

        let named = try open(header("sdxl"), "playground-v2.fp16.safetensors")
        #expect(named.recognition.architecture == .playground2)
        #expect(try named.config("scheduler").string("_class_name") == "EulerAncestralDiscreteScheduler")
        #expect(try named.settings().double("guidance_scale") == 3)
        #expect(try named.config("unet").int("sample_size") == 128)
        let small = try open(header("sdxl"), "playground-v2-512px-base.fp16.safetensors")
        #expect(try small.config("unet").int("sample_size") == 64)
        #expect(try open(header("sdxl")).settings().keys.isEmpty)
    }

    @Test func emaDuplicatesAreIgnored() throws {
        let names = try header("sd1").names.filter { $0.hasPrefix("model.diffusion_model.") }
        let copies = names.map { ("model_ema." + $0.dropFirst(6).replacingOccurrences(of: ".", with: ""), Shape([9])) }
        let more = ["model_ema.decay": Shape([]), "alphas_cumprod": [1000], "global_step": []]
        let model = try open(header("sd1").with(Dictionary(uniqueKeysWithValues: copies).merging(more) { $1 }))
        #expect(model.recognition.architecture == .stableDiffusion1)
        for component in ["unet", "vae", "text_encoder"] {
            #expect(try model.weights(component).names == open(header("sd1")).weights(component).names)
        }
    }

    @Test func partsAndFlags() throws {
        let base = try open(header("sdxl"))
        #expect(try base.flag("force_zeros_for_empty_prompt", default: false))
        #expect(base.components["text_encoder"]?.className == "CLIPTextModel")
        #expect(base.components["text_encoder_2"]?.className == "CLIPTextModelWithProjection")
        #expect(try base.tokenizer("tokenizer").lastPathComponent == "tokenizer")
        #expect(try base.tokenizer("tokenizer_2").lastPathComponent == "tokenizer_2")
        #expect(base.name == "model")
        let refiner = try open(header("sdxl-refiner"))
        #expect(refiner.className == "StableDiffusionXLImg2ImgPipeline")
        #expect(try !refiner.flag("force_zeros_for_empty_prompt", default: true))
        #expect(try refiner.flag("requires_aesthetics_score", default: false))
        #expect(refiner.components["text_encoder"] == nil)
        #expect(try open(header("sd2")).tokenizer("tokenizer").lastPathComponent == "tokenizer_2")
        #expect(try open(header("sd1")).tokenizer("tokenizer").lastPathComponent == "tokenizer")
    }

    /// Every value of our configs is the one that diffusers derives from the original configs, or its default.
    @Test func publishedConfigs() throws {
        let url = TestPaths.fixture("checkpoints/configs.json", of: "CalderaFormatsTests")
        let golden = try JSONConfig(contentsOf: url.path)
        #expect(golden.keys.count == 8)
        let resources = TestPaths.repository.appendingPathComponent("Sources/CalderaFormats/Resources/Checkpoints")
        for architecture in golden.keys {
            for component in ["unet", "vae"] {
                let folders = [architecture, String(architecture.split(separator: "-")[0])]
                let files = folders.map { resources.appendingPathComponent("\($0)/\(component).json").path }
                let file = try #require(files.first { FileManager.default.fileExists(atPath: $0) })
                let expected = try golden.object(architecture).object(component)
                var ours = try JSONConfig(contentsOf: file).values
                // The original files do not say it: SD 2.1 needs it in fp16 alone.
                ours["upcast_attention"] = nil
                // The variants of SD2 share the base's autoencoder, which works at any size.
                if component == "vae" { ours["sample_size"] = nil }
                for (key, value) in ours where !key.hasPrefix("_") {
                    #expect(same(value, expected.value(key)), "\(architecture) \(component) \(key)")
                }
            }
        }
    }

    private func same(_ value: JSONValue, _ other: JSONValue?) -> Bool {
        if case .int(let int) = value, case .double(let double) = other { return Double(int) == double }
        return value == other
    }

    @Test(
        arguments: [
            (["lora_unet_down_blocks_1_attentions_0_proj_in.lora_down.weight"], "a LoRA"),
            (["unet.down_blocks.1.attentions.0.proj_in.lora_A.weight"], "a LoRA"),
            (["emb_params"], "a textual-inversion embedding"),
            (["clip_g", "clip_l"], "a textual-inversion embedding"),
            (["encoder.conv_in.weight", "decoder.conv_in.weight"], "an autoencoder (VAE) alone"),
            (["first_stage_model.decoder.conv_in.weight"], "an autoencoder (VAE) alone"),
            (["down_blocks.0.resnets.0.conv1.weight"], "a UNet alone"),
            (["input_blocks.0.0.weight"], "a UNet alone"),
            (["text_model.final_layer_norm.weight"], "a text encoder alone"),
            (["control_model.input_blocks.0.0.weight"], "a ControlNet"),
            (["model.diffusion_model.double_blocks.0.img_attn.proj.weight"], "a Flux model"),
            (["model.diffusion_model.joint_blocks.0.x"], "a Stable Diffusion 3 model"),
            (["encoder.layers.0.weight"], "a small autoencoder"),
            (["something"], "is no Stable Diffusion"),
            ([], "holds no tensor"),
        ] as [([String], String)])
    func saysWhatItLooksLike(names: [String], title: String) {
        let weights = ShapesOnly(Dictionary(uniqueKeysWithValues: names.map { ($0, Shape([1])) }))
        #expect(message(weights).contains(title), "\(message(weights))")
        #expect(message(weights).hasPrefix("x.safetensors"))
    }

    @Test func damagedAndStrange() throws {
        #expect(message(try header("sd1", channels: 8)).contains("takes 8 channels"))
        #expect(message(try header("sdxl-refiner", channels: 9)).contains("takes 9 channels"))
        let wide = try header("sdxl").with([Self.firstConvolution: [256, 4, 3, 3]])
        #expect(message(wide).contains("shape [256, 4, 3, 3] where [320, 4, 3, 3]"))
        let flat = try header("sdxl").with([Self.firstConvolution: [320]])
        #expect(message(flat).contains("is no convolution") || message(flat).contains("no values"))
        let silent = try header("sdxl").with(without: { $0.hasPrefix("conditioner.embedders.0") })
        #expect(message(silent).contains("without a text encoder (conditioner.embedders.0.*)"))
        let unet = try header("sdxl").with(without: { !$0.hasPrefix("model.") })
        #expect(message(unet).contains("Stable Diffusion XL without a text encoder"))
        let other = ShapesOnly(Dictionary(uniqueKeysWithValues: try header("sd1").names.map { ($0, [1]) }), dtype: nil)
        #expect(message(other).contains("UNet of another architecture"))
        let gap = try header("sd1").with(without: { $0.hasSuffix("input_blocks.5.0.out_layers.3.weight") })
        #expect(message(gap).contains("down_blocks.1.resnets.1.conv2.weight"), "\(message(gap))")
    }

    @Test func withoutAutoencoder() throws {
        let model = try open(header("sdxl").with(without: { $0.hasPrefix("first_stage_model.") }))
        #expect(model.components["vae"] == nil)
        #expect(try model.config("vae").double("scaling_factor") == 0.13025)
        let error = #expect(throws: CalderaError.self) { try model.weights("vae") }
        #expect(error?.message.contains("--vae") == true)
        #expect(throws: CalderaError.self) { try model.weights("image_encoder") }
        #expect(throws: CalderaError.self) { try model.config("text_encoder_3") }
        #expect(throws: CalderaError.self) { try model.tokenizer("tokenizer_3") }
    }

    @Test(
        arguments: [
            (Data([0x50, 0x4b, 3, 4, 0, 0]), "model.safetensors"),
            (Data([0x80, 2, 0x8a, 0, 0, 0, 0, 0, 0]), "before version 1.6"),
            (Data("GGUF1234567890".utf8), "neither a safetensors nor a PyTorch file"),
            (Data("version https://git-lfs.github.com/spec/v1\n".utf8), "git lfs pull"),
            (Data([1, 2, 3]), "cut short"), (Data(), "cut short"),
        ])
    func filesOfOtherForms(data: Data, message: String) throws {
        let folder = try TemporaryFolder()
        let path = try folder.write("model.safetensors", data)
        let error = #expect(throws: CalderaError.self) {
            try ModelSources.open(path, tokenizers: TestPaths.embeddedModel)
        }
        #expect(error?.message.contains(message) == true, "\(error?.message ?? "")")
    }

    @Test func opensFoldersToo() throws {
        let path = TestPaths.embeddedModel.path
        let model = try ModelSources.open(path, tokenizers: TestPaths.embeddedModel)
        #expect(model.className == "StableDiffusionXLPipeline")
        #expect(try model.tokenizer("tokenizer_2").lastPathComponent == "tokenizer_2")
        #expect(try model.settings().has("guidance_scale"))
        #expect(try !model.weights("vae").names.isEmpty)
        let other = try ModelSources.open(path, prediction: .velocity, tokenizers: TestPaths.embeddedModel)
        #expect(try other.config("scheduler").string("prediction_type") == "v_prediction")
        #expect(throws: CalderaError.self) { try ModelSources.open("/nowhere", tokenizers: TestPaths.embeddedModel) }
        let file = TestPaths.embeddedModel.appendingPathComponent("unet/diffusion_pytorch_model.safetensors").path
        let error = #expect(throws: CalderaError.self) {
            try ModelSources.open(file, variant: "fp16", tokenizers: TestPaths.embeddedModel)
        }
        #expect(error?.kind == .usage)
    }
}

/// The tensors of one source, and those of another that the first lacks.
private final class Layered: WeightSource {
    private let upper: any WeightSource
    private let lower: any WeightSource

    init(_ upper: any WeightSource, _ lower: any WeightSource) {
        self.upper = upper
        self.lower = lower
    }

    var names: [String] { Set(upper.names + lower.names).sorted() }

    func info(_ name: String) -> WeightInfo? { upper.info(name) ?? lower.info(name) }

    func withBytes<Result>(_ name: String, _ body: (UnsafeRawBufferPointer) throws -> Result) throws -> Result {
        upper.info(name) == nil ? try lower.withBytes(name, body) : try upper.withBytes(name, body)
    }
}
