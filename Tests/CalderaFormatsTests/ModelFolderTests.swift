import CalderaFormats
import CalderaGraph
import CalderaTestSupport
import Foundation
import Testing

@Suite struct ModelFolderTests {
    /// A model with one component `unet` whose folder holds one-tensor files of these names; the value of a tensor `x`
    /// tells which file was opened.
    private func model(_ files: [String]) throws -> TemporaryFolder {
        let folder = try TemporaryFolder()
        try folder.write("model_index.json", #"{"_class_name": "P", "unet": ["diffusers", "U"], "f": [null, null]}"#)
        try folder.write("unet/config.json", #"{"in_channels": 4}"#)
        for (number, name) in files.enumerated() {
            if name.hasSuffix(".json") {
                try folder.write("unet/\(name)", "{\"weight_map\":{\"x\":\"\(files[number + 1])\"}}")
            } else {
                let tensor = SafetensorsWriter.Tensor("x", HostTensor([1], [Int32(number)]))
                try SafetensorsWriter.write([tensor], to: folder.path("unet/\(name)"))
            }
        }
        return folder
    }

    private func opened(_ files: [String], variant: String? = nil) throws -> Int32 {
        let folder = try model(files)
        let weights = try ModelFolder(folder.url.path).weights("unet", variant: variant)
        return try weights.withBytes("x") { $0.loadUnaligned(as: Int32.self) }
    }

    @Test func readsTheEmbeddedModel() throws {
        let folder = try ModelFolder(TestPaths.embeddedModel.path)
        #expect(folder.className == "StableDiffusionXLPipeline")
        #expect(folder.components["unet"]?.className == "UNet2DConditionModel")
        #expect(folder.components["image_encoder"] == nil)
        #expect(try folder.flag("force_zeros_for_empty_prompt", default: false))
        #expect(try folder.config("scheduler").string("prediction_type") == "epsilon")
        #expect(try folder.config("unet").ints("block_out_channels") == [64, 96, 128])
        for part in ["unet", "vae", "text_encoder", "text_encoder_2"] {
            #expect(try !folder.weights(part).names.isEmpty)
        }
    }

    @Test func choosesAmongWeightFiles() throws {
        let stem = "diffusion_pytorch_model"
        #expect(try opened(["\(stem).safetensors", "\(stem).fp16.safetensors"]) == 0)
        #expect(try opened(["\(stem).safetensors", "\(stem).fp16.safetensors"], variant: "fp16") == 1)
        #expect(try opened(["model.fp16.safetensors"]) == 0)
        #expect(try opened(["model.non_ema.safetensors"]) == 0)
        #expect(try opened(["\(stem).safetensors.index.json", "\(stem)-00001-of-00001.safetensors"]) == 1)
        #expect(try opened(["\(stem).safetensors.index.fp16.json", "\(stem).fp16-00001-of-00001.safetensors"]) == 1)
        #expect(try opened(["\(stem).fp16.safetensors.index.json", "\(stem)-00001-of-00001.fp16.safetensors"]) == 1)
    }

    /// The names alone decide here: each file's contents are safetensors, which `WeightFile` recognises.
    @Test func choosesPicklesWhereThereIsNothingElse() throws {
        let stem = "diffusion_pytorch_model"
        #expect(try opened(["\(stem).bin"]) == 0)
        #expect(try opened(["pytorch_model.bin"]) == 0)
        #expect(try opened(["\(stem).bin", "\(stem).fp16.safetensors"]) == 1)
        #expect(try opened(["\(stem).safetensors", "\(stem).fp16.bin"], variant: "fp16") == 1)
        #expect(try opened(["\(stem).fp16.bin", "\(stem).bin"]) == 1)
        #expect(try opened(["pytorch_model.bin.index.json", "pytorch_model-00001-of-00001.bin"]) == 1)
        #expect(try opened(["\(stem).bin.index.fp16.json", "\(stem).fp16-00001-of-00001.bin"]) == 1)
        #expect(try opened(["\(stem).fp16.bin.index.json", "\(stem).fp16-00001-of-00001.bin"]) == 1)
    }

    @Test(
        arguments: [
            ([], nil, "looked for diffusion_pytorch_model.safetensors, model.safetensors, diffusion_pytorch_model.bin"),
            (["model.safetensors"], "fp16", "only plain weights"),
            (["model.bf16.safetensors"], "fp16", "the variants bf16"),
            (["model.a.safetensors", "model.b.safetensors"], nil, "a, b"),
            (["model-00001-of-00002.safetensors"], nil, "(STEM.safetensors.index.json)"),
            (["pytorch_model-00001-of-00002.bin"], nil, "(STEM.bin.index.json)"),
            (["pytorch_model.bin"], "fp16", "only plain weights"), (["model.ckpt"], nil, "holds no weights"),
        ] as [([String], String?, String)])
    func saysWhatItLookedFor(files: [String], variant: String?, message: String) throws {
        let error = #expect(throws: CalderaError.self) { try opened(files, variant: variant) }
        #expect(error?.message.contains(message) == true, "\(error?.message ?? "")")
    }

    @Test func missingFoldersAndComponents() throws {
        let folder = try model([])
        #expect(throws: CalderaError.self) { try ModelFolder(folder.path("none")) }
        #expect(throws: CalderaError.self) { try ModelFolder(folder.path("unet")) }
        #expect(throws: CalderaError.self) { try ModelFolder(folder.path("model_index.json")) }
        let error = #expect(throws: CalderaError.self) { try ModelFolder(folder.url.path).config("vae") }
        #expect(error?.message.contains("lists no component vae") == true)
    }

    @Test func configsNameFileAndKey() throws {
        let text = #"{"i": 3, "d": 0.5, "s": "x", "n": null, "l": [1, 2], "m": [1, "a"], "b": true}"#
        let config = try JSONConfig(Data(text.utf8), path: "a/config.json")
        #expect(try config.int("i") == 3)
        #expect(try config.double("i") == 3)
        #expect(try config.int("n", default: 7) == 7)
        #expect(try config.ints("l") == [1, 2])
        #expect(config.keys == ["b", "d", "i", "l", "m", "s"])
        for wrong in ["d", "s", "b", "l"] {
            let error = #expect(throws: CalderaError.self) { try config.int(wrong, default: 1) }
            #expect(error?.message.hasPrefix("a/config.json: \"\(wrong)\" should be an integer") == true)
        }
        #expect(throws: CalderaError.self) { try config.ints("m") }
        #expect(throws: CalderaError.self) { try config.bool("i") }
        #expect(throws: CalderaError.self) { try config.string("absent") }
        let deep = Data(String(repeating: "[", count: 1_000_000).utf8)
        #expect(throws: CalderaError.self) { try JSONConfig(deep, path: "deep") }
    }
}
