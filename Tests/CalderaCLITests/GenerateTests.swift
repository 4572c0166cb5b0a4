import CalderaFormats
import CalderaGraph
import CalderaTestSupport
import Foundation
import Testing

@Suite("Generated pictures", .serialized)
struct GenerateTests {
    private let small = ["--device", "cpu", "--width", "64", "--height", "72", "--steps", "2"]

    @Test("A picture carries its parameters, its path is printed, and progress goes to the standard error")
    func picture() throws {
        let folder = try TemporaryFolder()
        let arguments = [
            "generate", "A red circle, above a blue square", "--negative-prompt", "-blurry", "--seed", "7",
        ]
        let outcome = try Program.run(arguments + small, in: folder)
        #expect(outcome.status == 0)
        #expect(outcome.output == "a-red-circle-above-a-blue-square-7.png\n")
        #expect(outcome.error.contains("step 1/2"))
        let picture = try PNGFile.read(folder.path("a-red-circle-above-a-blue-square-7.png"))
        #expect((picture.width, picture.height) == (64, 72))
        let parameters = GenerationParameters(parsing: try #require(picture.text("parameters")))
        #expect(parameters.prompt == "A red circle, above a blue square")
        #expect(parameters.negativePrompt == "-blurry")
        #expect(parameters.steps == 2)
        #expect(parameters.seed == 7)
        #expect(parameters.size?.width == 64)
        #expect(parameters.size?.height == 72)
    }

    @Test("A default name never replaces a file; a given one does")
    func names() throws {
        let folder = try TemporaryFolder()
        try folder.write("x-1.png", "mine")
        try folder.write("given.png", "old")
        try folder.write("sub/keep", "")
        let run = ["generate", "x", "--seed", "1"] + small
        #expect(try Program.run(run, in: folder).output == "x-1-2.png\n")
        #expect(try Program.run(run + ["--output", "given.png"], in: folder).output == "given.png\n")
        #expect(try Program.run(run + ["--output", "sub"], in: folder).output == "sub/x-1.png\n")
        #expect(try String(contentsOfFile: folder.path("x-1.png"), encoding: .utf8) == "mine")
        #expect(try PNGFile.read(folder.path("given.png")).width == 64)
        #expect(try folder.contents() == ["given.png", "sub", "x-1-2.png", "x-1.png"])
    }

    @Test(
        "Prompts of every kind make a file name",
        arguments: [
            ("", "picture-1.png"), ("../../etc/passwd", "etc-passwd-1.png"), ("Übermäßig 一只猫!", "übermäßig-一只猫-1.png"),
            (String(repeating: "word ", count: 2000), String(repeating: "word-", count: 16) + "1.png"),
            (String(repeating: "猫", count: 500), String(repeating: "猫", count: 26) + "-1.png"),
        ])
    func slugs(prompt: String, name: String) throws {
        let folder = try TemporaryFolder()
        let outcome = try Program.run(["generate", prompt, "--seed", "1"] + small, in: folder)
        #expect(outcome.status == 0)
        #expect(outcome.output == name + "\n")
        #expect(try folder.contents() == [name])
    }

    @Test("--json prints one object with every field")
    func json() throws {
        let folder = try TemporaryFolder()
        let arguments = ["generate", "a \"quoted\" cat", "--seed", "18446744073709551615", "--json"]
        let outcome = try Program.run(arguments + small, in: folder)
        #expect(outcome.status == 0)
        let report = try outcome.json()
        #expect(report["outputs"] as? [String] == ["a-quoted-cat-18446744073709551615.png"])
        #expect(report["seeds"] as? [UInt64] == [.max])
        #expect(report["prompt"] as? String == "a \"quoted\" cat")
        #expect(report["width"] as? Int == 64)
        #expect(report["height"] as? Int == 72)
        #expect(report["steps"] as? Int == 2)
        #expect(report["device"] as? String == "cpu")
        #expect(report["precision"] as? String == "fp32")
        #expect((report["scheduler"] as? String)?.hasSuffix("Scheduler") == true)
        #expect(report["guidance_scale"] is Double)
        for key in ["model", "latents", "negative_prompt"] { #expect(report[key] is NSNull, "\(key)") }
        for key in ["peak_device_bytes", "peak_host_bytes"] { #expect((report[key] as? Int ?? 0) > 0, "\(key)") }
        let timings = try #require(report["timings"] as? [String: Any])
        let total = try #require(timings["total"] as? Double)
        for key in ["load", "compile", "encode", "denoise_per_step", "decode"] {
            let seconds = try #require(timings[key] as? Double, "\(key)")
            #expect(seconds > 0 && seconds < total, "\(key)")
        }
        #expect((timings["denoise_steps"] as? [Double])?.count == 2)
    }

    @Test("Pictures of one call have seeds that count up; each is what a call of its own makes")
    func seeds() throws {
        let folder = try TemporaryFolder()
        let run = ["generate", "a green triangle"] + small
        let both = try Program.run(
            run + ["--seed", "41", "--count", "2", "--output", "p.png", "--save-latents", "both.safetensors"],
            in: folder)
        #expect(both.lines == ["p-1.png", "p-2.png"])
        let second = try Program.run(
            run + ["--seed", "42", "--output", "q.png", "--save-latents", "second.safetensors"], in: folder)
        #expect(second.lines == ["q.png"])
        let pictures = try ["p-1.png", "p-2.png", "q.png"].map { try PNGFile.read(folder.path($0)) }
        let seeds = pictures.map { GenerationParameters(parsing: $0.text("parameters") ?? "").seed }
        #expect(seeds == [41, 42, 42])
        let batch = try latents(folder.path("both.safetensors"), shape: [2, 4, 9, 8])
        let alone = try latents(folder.path("second.safetensors"), shape: [1, 4, 9, 8])
        // Sums of a larger batch may be taken in another order.
        #expect(difference(Array(batch.suffix(alone.count)), alone) < 1e-4)
        #expect(difference(Array(batch.prefix(alone.count)), alone) > 0.1)
        #expect(zip(pictures[1].rgb, pictures[2].rgb).allSatisfy { abs(Int($0) - Int($1)) <= 1 })
    }

    /// The one tensor of a latents file, checked for name, type and shape.
    private func latents(_ path: String, shape: Shape) throws -> [Float] {
        let file = try SafetensorsFile(path)
        #expect(file.names == ["latents"])
        let info = try #require(file.info("latents"))
        #expect(info.dtype == .float32)
        #expect(info.shape == shape)
        return try file.withBytes("latents") { bytes in
            stride(from: 0, to: bytes.count, by: 4).map { bytes.loadUnaligned(fromByteOffset: $0, as: Float.self) }
        }
    }

    /// ||a - b|| / ||b||
    private func difference(_ a: [Float], _ b: [Float]) -> Double {
        let error = zip(a, b).reduce(0.0) { $0 + pow(Double($1.0) - Double($1.1), 2) }
        return (error / b.reduce(0.0) { $0 + pow(Double($1), 2) }).squareRoot()
    }
}
