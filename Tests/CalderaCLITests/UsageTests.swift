import CalderaTestSupport
import Testing

@Suite("Bad usage")
struct UsageTests {
    /// A command line, and words that the one line of error must hold.
    struct Case: Sendable, CustomTestStringConvertible {
        let arguments: [String]
        let mentions: [String]
        var testDescription: String { arguments.joined(separator: " ") }

        init(_ arguments: String..., mentions: [String]) {
            self.arguments = arguments
            self.mentions = mentions
        }
    }

    @Test(
        "Exits with 2, prints one line that names the fault, and leaves no file",
        arguments: [
            Case("paint", mentions: ["paint"]),
            Case("generate", mentions: ["prompt"]),
            Case("generate", "red", "circle", mentions: ["circle"]),
            Case("generate", "x", "--unknown", mentions: ["--unknown"]),
            Case("generate", "x", "--width", mentions: ["--width"]),
            Case("generate", "x", "--width", "0", mentions: ["--width", "at least 1"]),
            Case("generate", "x", "--width", "-8", mentions: ["--width", "-8", "at least 1"]),
            Case("generate", "x", "--width=-8", mentions: ["--width", "-8", "at least 1"]),
            Case("generate", "x", "--width", "100", mentions: ["multiple of 8", "96 or 104"]),
            Case("generate", "x", "--height", "1000000", "--device", "cpu", mentions: ["height", "1000000"]),
            Case("generate", "x", "--height", "99999999999999999999", mentions: ["--height", "whole number"]),
            Case("generate", "x", "--height", "64.5", mentions: ["--height", "whole number"]),
            Case("generate", "x", "--steps", "0", mentions: ["--steps", "at least 1"]),
            Case("generate", "x", "--steps", "-3", mentions: ["--steps", "-3"]),
            Case("generate", "x", "--steps", "1000000000", "--device", "cpu", mentions: ["1000000000", "steps"]),
            Case("generate", "x", "--count", "0", mentions: ["--count", "at least 1"]),
            Case("generate", "x", "--count", "1000000000", "--device", "cpu", mentions: ["count", "1000000000"]),
            Case("generate", "x", "--seed", "-1", mentions: ["--seed", "-1", "18446744073709551615"]),
            Case("generate", "x", "--seed", "18446744073709551616", mentions: ["--seed", "18446744073709551615"]),
            Case("generate", "x", "--guidance-scale", "nan", mentions: ["--guidance-scale", "finite"]),
            Case("generate", "x", "--guidance-scale", "much", mentions: ["--guidance-scale", "much"]),
            Case("generate", "x", "--guidance-scale", "1e9", "--device", "cpu", mentions: ["guidance scale"]),
            Case("generate", "x", "--scheduler", "dice", "--device", "cpu", mentions: ["dice", "euler"]),
            Case("generate", "x", "--device", "abacus", mentions: ["abacus", "vulkan:INDEX"]),
            Case("generate", "x", "--device", "vulkan:", mentions: ["vulkan:"]),
            Case("generate", "x", "--precision", "fp8", mentions: ["fp8", "fp16"]),
            Case("generate", "x", "--output", "picture.jpg", mentions: ["picture.jpg", ".png"]),
            Case("generate", "x", "--save-latents", "latents.png", mentions: ["latents.png", ".safetensors"]),
            Case("generate", "x", "--mask", "m.png", mentions: ["--mask needs --init-image"]),
            Case("generate", "x", "--strength", "0.5", mentions: ["--strength needs --init-image"]),
            Case("generate", "x", "--init-image", "i.png", "--strength", "1.5", mentions: ["--strength", "0 to 1"]),
            Case("generate", "x", "--init-image", "i.png", "--strength", "-1", mentions: ["--strength", "0 to 1"]),
            Case("generate", "x", "--guidance-rescale", "2", mentions: ["--guidance-rescale", "0 to 1"]),
            Case("generate", "x", "--eta", "nan", mentions: ["--eta", "0 to 1"]),
            Case("generate", "x", "--refiner-start", "0.5", mentions: ["--refiner-start needs --refiner"]),
            Case("generate", "x", "--refiner", "r", "--refiner-start", "1", mentions: ["--refiner-start", "between"]),
            Case("generate", "x", "--sigmas", "5,,1", mentions: ["--sigmas", "commas"]),
            Case("generate", "x", "--sigmas", "nan", mentions: ["--sigmas", "commas"]),
            Case("generate", "x", "--timesteps", "9.5", mentions: ["--timesteps", "whole numbers"]),
            Case("generate", "x", "--sigmas", "5", "--timesteps", "5", mentions: ["exclude each other"]),
            Case("generate", "x", "--sigmas", "5,1", "--steps", "2", mentions: ["--steps", "leave it out"]),
            Case("generate", "x", "--variation-seed", "5", mentions: ["--variation-strength", "need each other"]),
            Case("generate", "x", "--clip-skip", "0", mentions: ["--clip-skip", "at least 1"]),
            Case("generate", "x", "--rng", "dice", mentions: ["dice", "cuda"]),
            Case("generate", "x", "--prompt-syntax", "latin", mentions: ["latin", "webui"]),
            Case("generate", "x", "--prediction", "sample", mentions: ["sample", "v_prediction"]),
            Case("generate", "x", "--original-size", "640", mentions: ["--original-size", "1024x768"]),
            Case("generate", "x", "--target-size", "0x5", mentions: ["--target-size", "1024x768"]),
            Case("generate", "x", "--crop", "1", mentions: ["--crop", "0,128"]),
            Case("generate", "x", "--max-memory", "lots", mentions: ["--max-memory", "3GiB"]),
            Case("generate", "x", "--device", "cpu", "--tune", mentions: ["--tune", "processor"]),
            Case("generate", "x", "--max-memory", "0", mentions: ["--max-memory", "3GiB"]),
            Case("generate", "x", "--vae-tiling", "maybe", mentions: ["maybe", "auto"]),
            Case("generate", "x", "--preview-output", "p.png", mentions: ["--preview-output needs --preview"]),
            Case("generate", "x", "--preview", "t", "--preview-output", "p.jpg", mentions: ["p.jpg", ".png"]),
            Case("generate", "x", "--lora", "", mentions: ["--lora", "empty"]),
            Case("generate", "x", "--lora", ":0.5", mentions: ["--lora", "PATH:WEIGHT"]),
            Case("convert", "x", mentions: ["out"]),
            Case("convert", "x", "y", "--dtype", "fp8", mentions: ["fp8", "bf16"]),
            Case("inspect", mentions: ["path"]),
            Case("inspect", "x", "--width", "7", mentions: ["--width", "multiple of 8"]),
            Case("explain", "--height", "0", mentions: ["--height", "at least 1"]),
            Case("explain", "--precision", "int8", mentions: ["int8"]),
            Case("devices", "cpu", mentions: ["cpu"]),
        ])
    func badUsage(_ usage: Case) throws {
        let folder = try TemporaryFolder()
        let outcome = try Program.run(usage.arguments, in: folder)
        #expect(outcome.status == 2)
        #expect(outcome.output.isEmpty)
        let errors = outcome.error.split(separator: "\n").filter { $0.hasPrefix("caldera: error: ") }
        #expect(errors.count == 1)
        #expect(outcome.lastErrorLine == errors.first.map(String.init))
        for text in usage.mentions { #expect(outcome.lastErrorLine.contains(text), "\(outcome.lastErrorLine)") }
        #expect(try folder.contents().isEmpty)
    }
}
