import CalderaFormats
import CalderaGraph
import CalderaTestSupport
import Foundation
import Testing

@Suite("caldera convert")
struct ConvertTests {
    @Test(
        "Folder to single file and back: the same pixels from all three", arguments: ["sd15", "sd21", "sdxl"])
    func roundTrip(family: String) throws {
        let folder = try TemporaryFolder()
        let model = try folder.tiny(family)
        let single = try Program.run(["convert", family, "single.safetensors"], in: folder)
        #expect(single.status == 0, "\(single.error)")
        #expect(single.output == "single.safetensors\n")
        let back = try Program.run(["convert", "single.safetensors", "back", "--config", model], in: folder)
        #expect(back.status == 0, "\(back.error)")
        #expect(back.output == "back\n")
        #expect(try folder.contents() == ["back", family, "single.safetensors"])
        let run = ["a red circle", "--scheduler", "euler", "--model"]
        let pixels = try Program.pixels(run + [model], in: folder)
        #expect(try Program.pixels(run + ["single.safetensors", "--config", model], in: folder) == pixels)
        #expect(try Program.pixels(run + ["back"], in: folder) == pixels)
    }

    @Test("A refiner converts both ways, too")
    func refiner() throws {
        let folder = try TemporaryFolder()
        let model = try folder.tiny("refiner")
        #expect(try Program.run(["convert", model, "r.safetensors"], in: folder).status == 0)
        let source = try folder.picture("source.png", width: 64, height: 64, left: 20, right: 230)
        let run = ["x", "--init-image", source, "--strength", "1", "--scheduler", "euler", "--model"]
        let pixels = try Program.pixels(run + [model], in: folder)
        #expect(try Program.pixels(run + ["r.safetensors", "--config", model], in: folder) == pixels)
    }

    @Test("Other types: half the bytes, and a picture near the first", arguments: ["fp16", "bf16"])
    func types(dtype: String) throws {
        let folder = try TemporaryFolder()
        let model = try folder.tiny("sd15")
        let full = try Program.run(["convert", model, "full.safetensors", "--dtype", "fp32"], in: folder)
        #expect(full.status == 0, "\(full.error)")
        let half = try Program.run(["convert", model, "half.safetensors", "--dtype", dtype, "--json"], in: folder)
        #expect(half.status == 0, "\(half.error)")
        let report = try half.json()
        #expect(report["input"] as? String == model)
        #expect(report["output"] as? String == "half.safetensors")
        #expect(report["dtype"] as? String == dtype)
        #expect(report["architecture"] as? String == "StableDiffusionPipeline")
        func bytes(_ name: String) throws -> Int {
            let file = try SafetensorsFile(folder.path(name))
            return file.tensors.values.reduce(0) { $0 + $1.range.count }
        }
        #expect(try bytes("half.safetensors") * 2 == bytes("full.safetensors"))
        let run = ["x", "--config", model, "--model"]
        let difference = try meanDifference(
            Program.pixels(run + ["half.safetensors"], in: folder),
            Program.pixels(run + ["full.safetensors"], in: folder))
        #expect(difference > 0 && difference < 8, "\(difference)")
    }

    @Test("LoRAs are merged into what is written, which then draws as the model does with them")
    func bakedAdapter() throws {
        let folder = try TemporaryFolder()
        let model = TestPaths.embeddedModel.path
        let lora = ["--lora", TrainedAdapter.pickle + ":0.7"]
        let outcome = try Program.run(["convert", model, "baked", "--dtype", "fp32", "--json"] + lora, in: folder)
        #expect(outcome.status == 0, "\(outcome.error)")
        let loras = try #require(try outcome.json()["loras"] as? [[String: Any]])
        #expect(loras.count == 1 && loras.first?["unet_weight"] as? Double == 0.7)
        let baked = try Program.pixels(["a red circle", "--model", "baked"], in: folder)
        #expect(try psnr(baked, Program.pixels(["a red circle"] + lora, in: folder)) > 50)
        #expect(try meanDifference(baked, Program.pixels(["a red circle"], in: folder)) > 1)
    }

    @Test("A single file is replaced by the next, whole; a folder is not")
    func existing() throws {
        let folder = try TemporaryFolder()
        let model = try folder.tiny("sd15")
        try folder.write("old.safetensors", "old")
        #expect(try Program.run(["convert", model, "old.safetensors"], in: folder).status == 0)
        #expect(try SafetensorsFile(folder.path("old.safetensors")).names.count > 100)
        let again = try Program.run(["convert", "old.safetensors", "sd15", "--config", model], in: folder)
        #expect(again.status == 2 && again.lastErrorLine.contains("exists already"))
        try FileManager.default.createDirectory(atPath: folder.path("empty"), withIntermediateDirectories: true)
        #expect(try Program.run(["convert", "old.safetensors", "empty", "--config", model], in: folder).status == 0)
        #expect(try folder.contents() == ["empty", "old.safetensors", "sd15"])
    }

    @Test(
        "An interrupted conversion leaves nothing behind",
        arguments: [["out.safetensors", "--dtype", "fp32"], ["out"]])
    func interrupt(arguments: [String]) throws {
        let folder = try TemporaryFolder()
        try CheckpointFile.write("sd1", to: folder, name: "in.safetensors")
        let run = try StartedProgram(
            executable: Program.path(), ["convert", "in.safetensors"] + arguments, in: folder, environment: [:])
        let deadline = Date(timeIntervalSinceNow: 60)
        while try folder.contents().count == 1, Date() < deadline { usleep(2000) }
        #expect(try folder.contents().contains { $0.hasSuffix(".partial") })
        run.send(SIGINT)
        let outcome = run.outcome()
        #expect(outcome.status == 130)
        #expect(outcome.lastErrorLine == "caldera: interrupted")
        #expect(outcome.output.isEmpty)
        #expect(try folder.contents() == ["in.safetensors"])
    }

    @Test(
        "inspect says what a single file was recognised as, and why",
        arguments: [
            ("sd1", ["Stable Diffusion 1.x", "[320, 768]"]), ("sd2", ["Stable Diffusion 2.x", "1024]"]),
            ("sdxl", ["Stable Diffusion XL", "conditioner.embedders.1."]),
            ("sdxl-refiner", ["Stable Diffusion XL refiner", "conditioner.embedders.0."]),
        ])
    func recognition(name: String, mentions: [String]) throws {
        let folder = try TemporaryFolder()
        try CheckpointFile.write(name, to: folder, name: "m.safetensors")
        let outcome = try Program.run(["inspect", "m.safetensors", "--device", "cpu"], in: folder)
        #expect(outcome.status == 0, "\(outcome.error)")
        let note = try #require(outcome.lines.first { $0.hasPrefix("recognised as ") })
        for text in mentions { #expect(note.contains(text), "\(note)") }
        let report = try Program.run(["inspect", "m.safetensors", "--device", "cpu", "--json"], in: folder).json()
        #expect(report["kind"] as? String == "single-file checkpoint")
        #expect(report["note"] as? String == note)
        #expect((report["memory_needed"] as? [String: Int])?["fp32"] ?? 0 > 1 << 30)
    }
}

/// Checkpoints of the published models' shapes, whose values are zeros that take no room on the disk.
enum CheckpointFile {
    private struct Shapes: Decodable {
        /// The true shape of each tensor, and a narrow one.
        let original: [String: [[Int]]]
    }

    static func write(_ architecture: String, to folder: TemporaryFolder, name: String) throws {
        let fixture = TestPaths.fixture("checkpoints/\(architecture).json", of: "CalderaFormatsTests")
        let shapes = try JSONDecoder().decode(Shapes.self, from: Data(contentsOf: fixture)).original
        var end = 0
        let members = shapes.sorted { $0.key < $1.key }.map { name, shapes in
            let begin = end
            end += 2 * shapes[0].reduce(1, *)
            return "\"\(name)\":{\"dtype\":\"F16\",\"shape\":\(shapes[0]),\"data_offsets\":[\(begin),\(end)]}"
        }
        let header = "{\(members.joined(separator: ","))}"
        var data = withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian) { Data($0) }
        data.append(contentsOf: header.utf8)
        let path = try folder.write(name, data)
        guard truncate(path, data.count + end) == 0 else { throw CalderaError("\(path) cannot be made that long.") }
    }
}
