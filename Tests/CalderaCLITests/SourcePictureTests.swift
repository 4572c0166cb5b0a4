import CalderaFormats
import CalderaTestSupport
import Foundation
import Testing

@Suite("Pictures from pictures")
struct SourcePictureTests {
    @Test("Image to image: the picture's size, more of it with less strength, and the report")
    func imageToImage() throws {
        let folder = try TemporaryFolder()
        let source = try folder.picture("source.png", width: 72, height: 64, left: 20, right: 230)
        let run = ["x", "--model", try folder.tiny("sd15"), "--init-image", source, "--steps", "10"]
        let much = try Program.draw(run + ["--output", "much.png", "--json"], in: folder)
        #expect(much.status == 0, "\(much.error)")
        let report = try much.json()
        #expect(report["init_image"] as? String == source)
        #expect(report["strength"] as? Double == 0.8)
        #expect(report["width"] as? Int == 72 && report["height"] as? Int == 64)
        #expect(much.error.contains("/8"), "ten steps, of which eight run")
        let little = try Program.pixels(run + ["--strength", "0.1"], in: folder)
        let others = try Program.pixels(run + ["--strength", "0.1", "--seed", "2"], in: folder)
        let muchOther = try Program.pixels(run + ["--seed", "2"], in: folder)
        #expect(meanDifference(little, others) < meanDifference(try folder.pixels("much.png"), muchOther))
    }

    @Test(
        "Inpainting: what is black stays whatever the seed, what is white does not",
        arguments: ["sd15", "sd15_inpaint"])
    func inpainting(family: String) throws {
        let folder = try TemporaryFolder()
        let source = try folder.picture("source.png", width: 64, height: 64, left: 20, right: 230)
        let run = ["x", "--model", try folder.tiny(family), "--init-image", source, "--mask"]
        let white = try folder.picture("white.png", width: 64, height: 64, left: 255, right: 255)
        let black = try folder.picture("black.png", width: 64, height: 64, left: 0, right: 0)
        let outcome = try Program.draw(run + [white, "--json", "--output", "white-1.png"], in: folder)
        #expect(outcome.status == 0, "\(outcome.error)")
        let report = try outcome.json()
        #expect(report["mask"] as? String == white)
        #expect(report["strength"] as? Double == 1)
        #expect(try folder.pixels("white-1.png") != Program.pixels(run + [white, "--seed", "2"], in: folder))
        guard family == "sd15" else { return }
        // A sample of the source's latents differs from seed to seed as well, but little.
        let kept = try Program.pixels(run + [black], in: folder)
        let other = try Program.pixels(run + [black, "--seed", "2"], in: folder)
        let anew = try meanDifference(
            folder.pixels("white-1.png"), Program.pixels(run + [white, "--seed", "2"], in: folder))
        #expect(meanDifference(kept, other) < anew / 2)
    }

    @Test("A refiner finishes a base model's picture, and changes a given one")
    func refiner() throws {
        let folder = try TemporaryFolder()
        let (base, refiner) = (try folder.tiny("sdxl"), try folder.tiny("refiner"))
        let run = ["x", "--model", base, "--steps", "5"]
        let alone = try Program.pixels(run, in: folder)
        let outcome = try Program.draw(
            run + ["--refiner", refiner, "--refiner-start", "0.6", "--json", "--output", "both.png"], in: folder)
        #expect(outcome.status == 0, "\(outcome.error)")
        let report = try outcome.json()
        #expect(report["refiner"] as? String == refiner)
        #expect(report["refiner_start"] as? Double == 0.6)
        #expect(try folder.pixels("both.png") != alone)
        let parameters = try #require(PNGFile.read(folder.path("both.png")).text("parameters"))
        #expect(parameters.contains("Refiner: refiner, Refiner switch at: 0.6"))

        let change = ["x", "--model", refiner, "--init-image", folder.path("both.png"), "--steps", "5"]
        let plain = try Program.pixels(change + ["--strength", "0.6"], in: folder)
        #expect(plain != (try folder.pixels("both.png")))
        #expect(try Program.pixels(change + ["--strength", "0.6", "--aesthetic-score", "9"], in: folder) != plain)
    }

    @Test("Another autoencoder: the model's own from its folder and its file, or a small one; and a preview")
    func autoencoders() throws {
        let folder = try TemporaryFolder()
        let model = try folder.tiny("sd15")
        let run = ["x", "--model", model, "--scheduler", "euler"]
        let plain = try Program.pixels(run, in: folder)
        for path in ["\(model)/vae", "\(model)/vae/diffusion_pytorch_model.safetensors", model] {
            #expect(try Program.pixels(run + ["--vae", path], in: folder) == plain, "\(path)")
        }
        let small = try folder.tinyAutoencoder()
        let outcome = try Program.draw(
            run + ["--vae", small, "--preview", small, "--preview-output", "shown.png", "--output", "s.png", "--json"],
            in: folder)
        #expect(outcome.status == 0, "\(outcome.error)")
        #expect(try outcome.json()["vae"] as? String == small)
        #expect(try outcome.json()["preview"] as? String == "shown.png")
        // Behind the last step the estimate is what the step leaves.
        #expect(try psnr(folder.pixels("shown.png"), folder.pixels("s.png")) > 40)
        #expect(try folder.contents() == ["pixels.png", "s.png", "sd15", "shown.png", "taesd"])
    }

    @Test("A memory limit is kept and changes no picture; below the least, the least is said and works")
    func memory() throws {
        let folder = try TemporaryFolder()
        let run = ["x", "--model", try folder.tiny("sd15")]
        let free = try Program.draw(run + ["--json", "--output", "free.png"], in: folder)
        let peak = try #require(try free.json()["peak_device_bytes"] as? Int)
        let tooSmall = try Program.draw(run + ["--max-memory", "1KiB", "--output", "none.png"], in: folder)
        #expect(tooSmall.status == 1 && tooSmall.output.isEmpty)
        let least = try #require(tooSmall.lastErrorLine.firstMatch(of: /--max-memory (\d+)KiB/)?.output.1)
        let limit = try #require(Int(least)) * 1024
        #expect(limit < peak)
        let held = try Program.draw(
            run + ["--max-memory", "\(least)KiB", "--json", "--output", "held.png"], in: folder)
        #expect(held.status == 0, "\(held.error)")
        #expect(try held.json()["max_memory"] as? Int == limit)
        #expect(try #require(held.json()["peak_device_bytes"] as? Int) <= limit)
        #expect(try folder.pixels("held.png") == folder.pixels("free.png"))
        let below = try Program.draw(
            run + ["--max-memory", "\(limit - 2048)", "--output", "none.png"], in: folder)
        #expect(below.status == 1 && below.lastErrorLine.contains("\(least)KiB"))
        #expect(try folder.contents() == ["free.png", "held.png", "sd15"])
    }
}
