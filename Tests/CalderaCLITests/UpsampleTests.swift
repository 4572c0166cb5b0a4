import CalderaFormats
import CalderaTestSupport
import Foundation
import Testing

@Suite("upsample", .serialized)
struct UpsampleTests {
    private func object(_ text: String) throws -> [String: Any] {
        try #require(JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
    }

    @Test("The embedded model writes one line, the same for the same seed")
    func embedded() throws {
        let run = ["upsample", "red circle", "--device", "cpu", "--seed", "3"]
        let first = try Program.run(run)
        #expect(first.status == 0, "\(first.error)")
        #expect(first.lines.count == 1)
        #expect(first.lines[0].count > "red circle".count)
        #expect(first.error.isEmpty)
        #expect(try Program.run(run).output == first.output)
        let four = try Program.run(run + ["--count", "4"])
        #expect(four.lines.count == 4)
        #expect(four.lines[0] == first.lines[0])
        #expect(Set(four.lines).count > 1)
        #expect(four.lines.allSatisfy { $0.contains("red circle") }, "\(four.lines)")
    }

    @Test("JSON tells the model, the seeds and what the model was asked")
    func json() throws {
        let outcome = try Program.run(
            ["upsample", "--tags", "red circle", "--device", "cpu", "--seed", "3", "--count", "2", "--json"])
        #expect(outcome.status == 0, "\(outcome.error)")
        let report = try object(outcome.output)
        let prompts = try #require(report["prompts"] as? [[String: Any]])
        #expect(prompts.map { $0["seed"] as? Int } == [3, 4])
        let passes = try #require(prompts[0]["passes"] as? [[String: Any]])
        #expect(passes.map { $0["prompt"] as? String } == ["red circle"])
        #expect(report["precision"] as? String == "fp32")
    }

    /// The embedded model in TIPO's clothes: what it writes is nonsense to TIPO, but all of the way is gone.
    @Test("A model with TIPO's tokens is asked TIPO's way")
    func tipo() throws {
        let folder = try TemporaryFolder()
        let path = try tipoFolder(folder)
        let run = [
            "upsample", "a cat on a bench", "--tags", "1girl, solo", "--model", path, "--device", "cpu", "--seed", "1",
            "--task", "short_to_tag", "--target", "very_short", "--json", "--ban", "brown", "--quality",
            "masterpiece, best quality", "--artist", "someone", "--aspect-ratio", "1.5", "--gen-meta",
        ]
        let outcome = try Program.run(run)
        #expect(outcome.status == 0, "\(outcome.error)")
        let prompts = try #require(try object(outcome.output)["prompts"] as? [[String: Any]])
        let passes = try #require(prompts[0]["passes"] as? [[String: Any]])
        let first = try #require(passes.first)
        #expect(first["task"] as? String == "short_to_tag")
        let asked = try #require(first["prompt"] as? String)
        #expect(
            asked == "artist: someone\nquality: masterpiece, best quality\naspect_ratio: 1.5\n"
                + "target: <|very_short|> <|short_to_tag|> <|gen_meta|>\nshort: a cat on a bench\ntag: 1girl, solo")
        #expect((first["output"] as? String)?.contains(asked) == true)
        let prompt = try #require(prompts[0]["prompt"] as? String)
        #expect(prompt.hasPrefix("1girl") && prompt.contains("solo") && prompt.contains("masterpiece, best quality"))
        #expect(!prompt.contains("brown"))
    }

    private func tipoFolder(_ folder: TemporaryFolder) throws -> String {
        let source = TestPaths.repository.appending(path: "Sources/Caldera/Resources/EmbeddedUpsampler")
        let model = URL(fileURLWithPath: folder.path("model"))
        try FileManager.default.copyItem(at: source, to: model)
        for name in ["tokenizer.json", "tokenizer_config.json"] {
            let file = model.appending(path: name)
            let text = try String(contentsOf: file, encoding: .utf8)
            try text.replacingOccurrences(of: "<sep>", with: "<|long|>").write(
                to: file, atomically: true, encoding: .utf8)
        }
        return model.path
    }

    @Test("generate --upsample draws the long prompt and notes both")
    func generate() throws {
        let folder = try TemporaryFolder()
        let run = [
            "generate", "--upsample", "red circle", "--device", "cpu", "--width", "64", "--height", "64", "--steps",
            "1", "--seed", "3", "--json",
        ]
        let outcome = try Program.run(run, in: folder)
        #expect(outcome.status == 0, "\(outcome.error)")
        let report = try object(outcome.output)
        let prompt = try #require(report["prompt"] as? String)
        #expect(report["short_prompt"] as? String == "red circle")
        #expect(outcome.error.contains("upsampled prompt: \(prompt)"))
        let picture = try PNGFile.read(folder.path("red-circle-3.png"))
        let parameters = GenerationParameters(parsing: try #require(picture.text("parameters")))
        #expect(parameters.prompt == prompt)
        #expect(parameters["Short prompt"] == "red circle")
    }

    @Test(
        "Bad usage exits with 2 and names the fault",
        arguments: [
            (["upsample"], "empty"), (["upsample", " "], "empty"), (["upsample", "x", "--count", "0"], "--count"),
            (["upsample", "x", "--target", "long"], "--target"), (["upsample", "x", "--top-p", "2"], "--top-p"),
            (["upsample", "x", "--temperature", "0"], "temperature"),
            (["upsample", "x", "--tag-lists", "none"], "none"), (["upsample", "x", "--gen-meta"], "--gen-meta"),
            (["upsample", "x", "--rating", "safe"], "--rating"), (["upsample", "x", "--aspect-ratio", "0"], "ratio"),
            (["upsample", "x", "--aspect-ratio", "1"], "--aspect-ratio"),
            (["upsample", String(repeating: "red circle ", count: 100)], "context"),
        ] as [([String], String)])
    func badUsage(arguments: [String], mentions: String) throws {
        let outcome = try Program.run(arguments + ["--device", "cpu"])
        #expect(outcome.status == 2, "\(outcome.error)")
        #expect(outcome.lastErrorLine.contains(mentions), "\(outcome.lastErrorLine)")
        #expect(outcome.output.isEmpty)
    }

    @Test("A model that is missing, cut short or no upsampler fails in one sentence")
    func badModels() throws {
        let folder = try TemporaryFolder()
        let missing = try Program.run(
            ["generate", "x", "--upsample=\(folder.path("none"))", "--device", "cpu"], in: folder)
        #expect(missing.status == 1)
        #expect(missing.lastErrorLine.contains("none"))
        try folder.write("cut.gguf", "GGUF\u{3}\0\0\0")
        let cut = try Program.run(["upsample", "x", "--model", folder.path("cut.gguf"), "--device", "cpu"])
        #expect(cut.status == 1)
        #expect(cut.lastErrorLine.contains("cut.gguf"))
        let path = try tipoFolder(folder)
        let target = try Program.run(["upsample", "x", "--model", path, "--target", "longer", "--device", "cpu"])
        #expect(target.status == 2)
        #expect(target.lastErrorLine.contains("did you mean \"long\""))
        let ban = try Program.run(["upsample", "x", "--model", path, "--ban", "(", "--device", "cpu"])
        #expect(ban.status == 2)
        #expect(ban.lastErrorLine.contains("("))
        #expect(try folder.contents() == ["cut.gguf", "model"])
    }
}
