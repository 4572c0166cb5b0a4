import CalderaFormats
import CalderaGraph
import CalderaTestSupport
import Foundation
import Testing

@Suite("Bad input")
struct BadInputTests {
    /// Runs the program in a folder of its own, expects one sentence, the exit code, and no file.
    private func expectRefusal(
        _ arguments: [String], status: Int32, mentions: [String], sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let folder = try TemporaryFolder()
        let isPicture = arguments.first == "generate"
        let outcome = try Program.run(arguments + (isPicture ? ["--device", "cpu"] : []), in: folder)
        let location = sourceLocation
        #expect(outcome.status == status, "\(outcome.error)", sourceLocation: location)
        #expect(outcome.output.isEmpty, sourceLocation: location)
        let errors = outcome.error.split(separator: "\n").filter { $0.hasPrefix("caldera: error: ") }
        #expect(errors.count == 1, "\(outcome.error)", sourceLocation: location)
        let line = outcome.lastErrorLine
        for text in mentions { #expect(line.contains(text), "\(line)", sourceLocation: location) }
        #expect(try folder.contents().isEmpty, sourceLocation: location)
    }

    private func fixture(_ name: String) -> String {
        TestPaths.fixture("Pickles/\(name)", of: "CalderaFormatsTests").path
    }

    // MARK: Files

    @Test("A LoRA for another base model")
    func otherModelsAdapter() throws {
        let models = try TemporaryFolder()
        let (small, large) = (try models.tiny("sd15"), try models.tiny("sdxl"))
        let lora = ["--lora", TrainedAdapter.safetensors]
        try expectRefusal(
            ["generate", "x", "--model", small] + lora, status: 1,
            mentions: ["thick_outline", "cross-attention width 80", "this model has 32"])
        try expectRefusal(
            ["generate", "x", "--model", large] + lora, status: 1, mentions: ["thick_outline", "another model"])
        try expectRefusal(["convert", small, "x"] + lora, status: 1, mentions: ["cross-attention width 80"])
    }

    @Test("A file that is cut short: a checkpoint, a pickle, a LoRA, an autoencoder", arguments: [0, 7, 1000, 30_000])
    func cutShort(bytes: Int) throws {
        let models = try TemporaryFolder()
        let model = try models.tiny("sd15")
        #expect(try Program.run(["convert", model, "whole.safetensors"], in: models).status == 0)
        for (path, option) in [
            (models.path("whole.safetensors"), "--model"), (TrainedAdapter.pickle, "--model"),
            (TrainedAdapter.pickle, "--lora"), (TrainedAdapter.safetensors, "--lora"),
            ("\(model)/vae/diffusion_pytorch_model.safetensors", "--vae"),
            (fixture("embeddings/webui.pt"), "--embedding"),
        ] {
            let whole = try Data(contentsOf: URL(fileURLWithPath: path))
            guard bytes < whole.count else { continue }
            let suffix = URL(fileURLWithPath: path).pathExtension
            let cut = try models.write("cut.\(suffix)", whole.prefix(bytes))
            let other = option == "--model" ? [] : ["--model", model]
            try expectRefusal(["generate", "x", option, cut] + other, status: 1, mentions: ["cut.\(suffix)"])
            if option == "--model" {
                try expectRefusal(["convert", cut, "out"], status: 1, mentions: ["cut.\(suffix)"])
                try expectRefusal(["inspect", cut], status: 1, mentions: ["cut.\(suffix)"])
            }
        }
    }

    @Test("A pickle with a forbidden global, wherever it is given")
    func forbiddenGlobal() throws {
        struct Bad: Decodable {
            let name: String
            let file: Data
        }
        let files = try JSONDecoder().decode(
            [Bad].self, from: Data(contentsOf: URL(fileURLWithPath: fixture("bad.json"))))
        let bad = try #require(files.first { $0.name == "os.system" })
        let place = try TemporaryFolder()
        let path = try place.write("evil.pt", bad.file)
        let mentions = ["evil.pt asks to call os.system", "malicious"]
        for option in ["--model", "--lora", "--vae", "--embedding", "--preview"] {
            try expectRefusal(["generate", "x", option, path], status: 1, mentions: mentions)
        }
        try expectRefusal(["convert", path, "out.safetensors"], status: 1, mentions: mentions)
        try expectRefusal(["inspect", path], status: 1, mentions: mentions)
        try place.write("loras/evil.pt", bad.file)
        try expectRefusal(
            ["generate", "x <lora:evil:1>", "--lora-folder", place.path("loras")], status: 1, mentions: mentions)
    }

    @Test("An embedding of the wrong width")
    func embedding() throws {
        try expectRefusal(
            ["generate", "x", "--embedding", fixture("embeddings/webui.pt")], status: 1,
            mentions: ["webui.pt", "width 8", "another base model"])
    }

    @Test("A path that holds no autoencoder, or one for other latents")
    func autoencoder() throws {
        let models = try TemporaryFolder()
        let run = ["generate", "x", "--model", try models.tiny("sd15")]
        for (path, words) in [
            (models.path("nowhere"), "There is no autoencoder"), (models.url.path, "holds no autoencoder"),
            (TrainedAdapter.safetensors, "holds no autoencoder"), (models.path("sd15/unet"), "UNet2DConditionModel"),
        ] {
            try expectRefusal(run + ["--vae", path], status: 1, mentions: [path, words])
        }
        let small = try models.tinyAutoencoder()
        try expectRefusal(run + ["--preview", small], status: 1, mentions: ["4 pixels", "8 pixels", "TAESD"])
        try expectRefusal(run + ["--preview", models.path("nowhere")], status: 1, mentions: ["nowhere"])
    }

    @Test("Parts that do not fit each other")
    func mixedParts() throws {
        let models = try TemporaryFolder()
        let (model, other) = (try models.tiny("sd15"), try models.tiny("sdxl"))
        try FileManager.default.removeItem(atPath: "\(model)/text_encoder")
        try FileManager.default.copyItem(atPath: "\(other)/text_encoder_2", toPath: "\(model)/text_encoder")
        try expectRefusal(
            ["generate", "x", "--model", model], status: 1,
            mentions: ["48 channels", "cross_attention_dim is 32", "different models"])
    }

    @Test("A refiner as a base, a base as a refiner, and a refiner for another family")
    func refiners() throws {
        let models = try TemporaryFolder()
        let (base, refiner) = (try models.tiny("sdxl"), try models.tiny("refiner"))
        try expectRefusal(
            ["generate", "x", "--model", refiner], status: 2, mentions: ["is a refiner", "--init-image", "--refiner"])
        try expectRefusal(
            ["generate", "x", "--model", base, "--refiner", base], status: 2, mentions: ["no refiner", "--refiner"])
        try expectRefusal(
            ["generate", "x", "--model", models.tiny("sd15"), "--refiner", refiner], status: 1,
            mentions: ["SDXL base models only"])
    }

    // MARK: Pictures

    @Test("Pictures and masks that are missing, broken or of other sizes")
    func pictures() throws {
        let models = try TemporaryFolder()
        let run = ["generate", "x", "--model", try models.tiny("sd15"), "--init-image"]
        let picture = try models.picture("picture.png", width: 64, height: 64, left: 0, right: 255)
        let narrow = try models.picture("narrow.png", width: 32, height: 64, left: 0, right: 255)
        let broken = try models.write("broken.png", Data(contentsOf: URL(fileURLWithPath: picture)).prefix(60))
        try expectRefusal(run + [models.path("none.png")], status: 1, mentions: ["none.png"])
        try expectRefusal(run + [broken], status: 1, mentions: ["broken.png"])
        try expectRefusal(run + [TrainedAdapter.pickle], status: 1, mentions: ["no PNG"])
        try expectRefusal(
            run + [picture, "--mask", narrow], status: 2, mentions: ["narrow.png is 32x64", "64x64", "same size"])
        try expectRefusal(run + [picture, "--strength", "0"], status: 2, mentions: ["strength of 0"])
        let inpainting = try models.tiny("sd15_inpaint")
        for source in [[], ["--init-image", picture]] {
            try expectRefusal(
                ["generate", "x", "--model", inpainting] + source, status: 2, mentions: ["inpainting model", "--mask"])
        }
    }

    // MARK: Names and lists

    @Test("Names that are not there, with the near ones")
    func names() throws {
        let place = try TemporaryFolder()
        try place.write("thick_outline.pt", Data(contentsOf: URL(fileURLWithPath: TrainedAdapter.pickle)))
        try expectRefusal(
            ["generate", "x <lora:thin_outline:1>", "--lora-folder", place.url.path], status: 2,
            mentions: ["no LoRA thin_outline", "thick_outline"])
        try expectRefusal(["generate", "x <lora:a:1>"], status: 2, mentions: ["LoRA a", "--lora-folder"])
        try expectRefusal(
            ["generate", "x <lora:a:1>", "--lora-folder", place.path("none")], status: 2, mentions: ["no LoRA folder"])
        try expectRefusal(
            ["generate", "x", "--scheduler", "dpmpp_2n"], status: 2, mentions: ["dpmpp_2n", "Did you mean", "dpmpp_2m"])
        try expectRefusal(["generate", "x", "--lora", place.path("none.safetensors")], status: 1, mentions: ["none"])
    }

    @Test(
        "Settings that this model or scheduler has no use for, or cannot have",
        arguments: [
            (["--sigmas", "1,5", "--scheduler", "euler"], "must fall"),
            (["--timesteps", "5,900", "--scheduler", "euler"], "must fall"),
            (["--timesteps", "5000", "--scheduler", "euler"], "out of range"),
            (["--sigmas", "5,1", "--scheduler", "ddim"], "DDIMScheduler"),
            (["--eta", "0.5", "--scheduler", "euler"], "leave out --eta"),
            (["--crop", "0,8"], "leave out --original-size"),
            (["--aesthetic-score", "9"], "leave out --aesthetic-score"),
            (["--clip-skip", "50"], "CLIP skip 50"), (["--variant", "fp8"], "fp8"),
            (["--config", "/"], "leave --config out"),
        ])
    func settings(arguments: [String], words: String) throws {
        let models = try TemporaryFolder()
        let run = ["generate", "x", "--model", try models.tiny("sd15")] + arguments
        try expectRefusal(run, status: arguments.first == "--variant" ? 1 : 2, mentions: [words])
    }

    // MARK: Conversion

    @Test("Conversions that cannot be")
    func conversions() throws {
        let models = try TemporaryFolder()
        let model = try models.tiny("sd15")
        try expectRefusal(["convert", model, models.url.path], status: 2, mentions: ["exists already"])
        try expectRefusal(["convert", model, ""], status: 2, mentions: ["no name"])
        try expectRefusal(["convert", model, "x.ckpt"], status: 2, mentions: [".ckpt", ".safetensors"])
        try expectRefusal(["convert", model, "no/x.safetensors"], status: 1, mentions: ["there is no folder"])
        try expectRefusal(["convert", model, "no/x"], status: 1, mentions: ["there is no folder"])
        try expectRefusal(["convert", models.path("none"), "x"], status: 1, mentions: ["none"])
        try expectRefusal(["convert", TrainedAdapter.pickle, "x"], status: 1, mentions: ["looks like a LoRA"])
        try expectRefusal(["convert", model, "x", "--dtype", "int8"], status: 2, mentions: ["int8"])
        try FileManager.default.createSymbolicLink(
            atPath: models.path("full.safetensors"), withDestinationPath: "/dev/full")
        try expectRefusal(
            ["convert", model, models.path("full.safetensors")], status: 1, mentions: ["the disk is full"])
    }

    @Test("A disk that fills up under a conversion leaves nothing", arguments: ["x.safetensors", "x"])
    func fullDisk(output: String) throws {
        let folder = try TemporaryFolder()
        let model = try folder.tiny("sd15")
        // 64 blocks of 512 or 1024 bytes: less than the first tensors.
        let outcome = try Program.shell("ulimit -f 64; exec \"$0\" \"$@\"", ["convert", model, output], in: folder)
        #expect(outcome.status == 1, "\(outcome.error)")
        #expect(outcome.output.isEmpty)
        #expect(outcome.lastErrorLine.contains("could not be written"))
        #expect(try folder.contents() == ["sd15"])
    }
}
