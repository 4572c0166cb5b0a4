import CalderaFormats
import CalderaTestSupport
import Foundation
import Testing

@Suite("Pictures from pictures")
struct SourcePictureTests {
    @Test("Image to image: the source's size, nearer to it with less strength, and the report")
    func imageToImage() throws {
        let folder = try TemporaryFolder()
        let source = try folder.picture("source.png", width: 72, height: 64, left: 20, right: 230)
        let original = try folder.pixels("source.png")
        let run = ["a red circle", "--init-image", source, "--steps", "10"]
        let little = try Program.pixels(run + ["--strength", "0.1"], in: folder)
        let much = try Program.pixels(run + ["--strength", "0.9"], in: folder)
        #expect(meanDifference(little, original) < meanDifference(much, original) / 4)
        for (family, strength, steps) in [("sdxl", 0.3, 3), ("sd15", 0.8, 8)] {
            let outcome = try Program.draw(
                run + ["--model", folder.tiny(family), "--scheduler", "euler", "--json"], in: folder)
            #expect(outcome.status == 0, "\(outcome.error)")
            let report = try outcome.json()
            #expect(report["init_image"] as? String == source)
            #expect(report["strength"] as? Double == strength)
            #expect(report["width"] as? Int == 72 && report["height"] as? Int == 64)
            let timings = try #require(report["timings"] as? [String: Any])
            #expect((timings["denoise_steps"] as? [Double])?.count == steps)
        }
    }

    @Test("Inpainting: what is black stays, what is white does not")
    func inpainting() throws {
        let folder = try TemporaryFolder()
        let source = try folder.picture("source.png", width: 64, height: 64, left: 20, right: 230)
        let original = try folder.pixels("source.png")
        let run = ["a red circle", "--init-image", source, "--steps", "4", "--mask"]
        func pixels(left: UInt8, right: UInt8) throws -> [UInt8] {
            let mask = try folder.picture("mask.png", width: 64, height: 64, left: left, right: right)
            return try Program.pixels(run + [mask], in: folder)
        }
        func half(_ pixels: [UInt8], from start: Int) -> [UInt8] {
            (0..<64).flatMap { row in pixels[(row * 64 + start) * 3..<(row * 64 + start + 24) * 3] }
        }
        let (kept, anew) = (try pixels(left: 0, right: 0), try pixels(left: 255, right: 255))
        #expect(meanDifference(kept, original) < meanDifference(anew, original) / 4)
        let both = try pixels(left: 255, right: 0)
        // Without the columns beside the border, where the autoencoder mixes the halves.
        let (left, right) = (half(both, from: 0), half(both, from: 40))
        #expect(meanDifference(right, half(original, from: 40)) < meanDifference(left, half(original, from: 0)) / 2)
    }

    @Test("An inpainting model takes the mask and the rest of the picture beside its latents")
    func inpaintingModel() throws {
        let folder = try TemporaryFolder()
        let source = try folder.picture("source.png", width: 64, height: 64, left: 20, right: 230)
        let white = try folder.picture("white.png", width: 64, height: 64, left: 255, right: 255)
        let part = try folder.picture("part.png", width: 64, height: 64, left: 255, right: 0)
        let run = ["x", "--model", try folder.tiny("sd15_inpaint"), "--init-image", source, "--mask"]
        let outcome = try Program.draw(run + [part, "--json", "--output", "part-1.png"], in: folder)
        #expect(outcome.status == 0, "\(outcome.error)")
        #expect(try outcome.json()["mask"] as? String == part)
        #expect(try outcome.json()["strength"] as? Double == 1)
        #expect(try folder.pixels("part-1.png") != Program.pixels(run + [white], in: folder))
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
