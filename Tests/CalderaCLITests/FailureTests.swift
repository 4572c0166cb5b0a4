import CalderaGraph
import CalderaTestSupport
import Foundation
import Testing

@Suite("Failed jobs")
struct FailureTests {
    private let small = ["--device", "cpu", "--width", "64", "--height", "64", "--steps", "1", "--seed", "1"]

    /// Exit code 1 and one line of error that holds the words.
    private func expectFailure(
        _ outcome: Outcome, mentions: [String], sourceLocation: SourceLocation = #_sourceLocation
    ) {
        #expect(outcome.status == 1, sourceLocation: sourceLocation)
        #expect(outcome.output.isEmpty, sourceLocation: sourceLocation)
        let line = outcome.lastErrorLine
        #expect(line.hasPrefix("caldera: error: "), sourceLocation: sourceLocation)
        for text in mentions { #expect(line.contains(text), "\(line)", sourceLocation: sourceLocation) }
    }

    // MARK: Models

    @Test("A path with no model", arguments: [["generate", "x", "--model"], ["inspect"], ["explain", "--model"]])
    func missingModel(command: [String]) throws {
        let folder = try TemporaryFolder()
        let outcome = try Program.run(command + [folder.path("nowhere")], in: folder)
        expectFailure(outcome, mentions: ["nowhere"])
        #expect(try folder.contents().isEmpty)
    }

    @Test("A folder that is no model")
    func noModel() throws {
        let folder = try TemporaryFolder()
        expectFailure(
            try Program.run(["generate", "x", "--model", folder.url.path]), mentions: ["model_index.json"])
    }

    @Test(
        "A weight file that is cut short is named",
        arguments: ["unet", "vae", "text_encoder"], [0, 5, 100, 100_000])
    func truncatedWeights(part: String, size: Int) throws {
        let folder = try copiedModel()
        let name = try weightFile(folder, part)
        let path = folder.path("model/\(part)/\(name)")
        let whole = try Data(contentsOf: URL(fileURLWithPath: path))
        try FileManager.default.removeItem(atPath: path)
        try folder.write("model/\(part)/\(name)", whole.prefix(size))
        let outcome = try Program.run(["generate", "x", "--model", folder.path("model")] + small, in: folder)
        expectFailure(outcome, mentions: ["\(part)/\(name)"])
        #expect(try folder.contents() == ["model"])
    }

    @Test("A config file that is cut short or asks for an unknown block is named")
    func brokenConfig() throws {
        let folder = try copiedModel()
        let path = folder.path("model/unet/config.json")
        let whole = try String(contentsOfFile: path, encoding: .utf8)
        let run = ["generate", "x", "--model", folder.path("model")] + small
        try FileManager.default.removeItem(atPath: path)
        try folder.write("model/unet/config.json", String(whole.prefix(40)))
        expectFailure(try Program.run(run, in: folder), mentions: ["unet/config.json"])
        try folder.write(
            "model/unet/config.json", whole.replacingOccurrences(of: "CrossAttnDownBlock2D", with: "MagicBlock"))
        expectFailure(try Program.run(run, in: folder), mentions: ["MagicBlock"])
        #expect(try folder.contents() == ["model"])
    }

    /// The embedded model, made of links, under `model`.
    private func copiedModel() throws -> TemporaryFolder {
        let folder = try TemporaryFolder()
        let source = TestPaths.embeddedModel
        for name in try FileManager.default.subpathsOfDirectory(atPath: source.path) {
            let from = source.appendingPathComponent(name)
            let to = folder.url.appendingPathComponent("model/\(name)")
            var isFolder: ObjCBool = false
            guard FileManager.default.fileExists(atPath: from.path, isDirectory: &isFolder) else { continue }
            if isFolder.boolValue {
                try FileManager.default.createDirectory(at: to, withIntermediateDirectories: true)
            } else {
                try FileManager.default.createDirectory(
                    at: to.deletingLastPathComponent(), withIntermediateDirectories: true)
                try FileManager.default.createSymbolicLink(at: to, withDestinationURL: from)
            }
        }
        return folder
    }

    private func weightFile(_ folder: TemporaryFolder, _ part: String) throws -> String {
        let names = try FileManager.default.contentsOfDirectory(atPath: folder.path("model/\(part)"))
        return try #require(names.first { $0.hasSuffix(".safetensors") })
    }

    // MARK: Outputs

    @Test(
        "An output folder that is missing, a file or not writable is refused before anything is computed",
        arguments: [
            (["--output", "missing/x.png"], "missing"), (["--output", "/dev/null/x.png"], "/dev/null"),
            (["--output", "/proc"], "/proc"), (["--save-latents", "missing/x.safetensors"], "missing"),
        ])
    func outputFolder(arguments: [String], mention: String) throws {
        let folder = try TemporaryFolder()
        let outcome = try Program.run(["generate", "x"] + small + arguments, in: folder)
        expectFailure(outcome, mentions: [mention])
        // Not even the model has been opened.
        #expect(outcome.error.split(separator: "\n").count == 1)
        #expect(try folder.contents().isEmpty)
    }

    @Test("A picture that no memory holds is refused before anything is allocated")
    func tooLarge() throws {
        let folder = try TemporaryFolder()
        let outcome = try Program.run(
            [
                "generate", "x", "--device", "cpu", "--width", "16384", "--height", "16384", "--steps", "1",
                "--vae-tiling", "off",
            ], in: folder)
        expectFailure(outcome, mentions: ["decoder", "MiB left"])
        #expect(try folder.contents().isEmpty)
    }

    @Test("A file that may not grow is an error, not a crash, and leaves no half file")
    func fileSizeLimit() throws {
        let folder = try TemporaryFolder()
        // 2 blocks of 512 or 1024 bytes; the latents of 128x128 take 4096.
        let outcome = try Program.shell(
            "ulimit -f 2; exec \"$0\" \"$@\"",
            [
                "generate", "x", "--device", "cpu", "--width", "128", "--height", "128", "--steps", "1",
                "--save-latents", "latents.safetensors",
            ], in: folder)
        expectFailure(outcome, mentions: ["latents.safetensors"])
        #expect(try folder.contents().isEmpty)
    }

    @Test("A full disk behind the standard output is an error", arguments: ["devices --json", "--help", "explain"])
    func fullOutput(command: String) throws {
        let arguments = command.split(separator: " ").map(String.init)
        let outcome = try Program.shell("\"$0\" \"$@\" > /dev/full", arguments)
        expectFailure(outcome, mentions: ["standard output", "No space left"])
    }

    @Test("A reader that goes away, or was never there, is no error", arguments: ["| true", ">&-", "2>&- | cat >&2"])
    func closedOutput(redirection: String) throws {
        let folder = try TemporaryFolder()
        let command = "{ \"$0\" \"$@\"; echo $? > status; } \(redirection)"
        _ = try Program.shell(command, ["devices"], in: folder)
        #expect(try String(contentsOfFile: folder.path("status"), encoding: .utf8) == "0\n")
    }

    // MARK: Devices

    /// Environments in which there is no Vulkan: a loader without drivers, and a loader that cannot be loaded.
    private static func withoutVulkan(_ folder: TemporaryFolder) throws -> [[String: String]] {
        try folder.write("lib/libvulkan.so.1", "no library")
        let nowhere = folder.path("nowhere.json")
        let libraries = [folder.path("lib"), ProcessInfo.processInfo.environment["LD_LIBRARY_PATH"]]
        return [
            ["VK_DRIVER_FILES": nowhere, "VK_ICD_FILENAMES": nowhere],
            ["LD_LIBRARY_PATH": libraries.compactMap { $0 }.joined(separator: ":")],
        ]
    }

    @Test("Without Vulkan, --device vulkan fails with a sentence and auto takes the processor")
    func noVulkan() throws {
        let folder = try TemporaryFolder()
        for environment in try Self.withoutVulkan(folder) {
            for device in ["vulkan", "vulkan:0", "vulkan:llvmpipe"] {
                let outcome = try Program.run(
                    ["generate", "x", "--device", device], in: folder, environment: environment)
                expectFailure(outcome, mentions: ["Vulkan"])
            }
            let devices = try Program.run(["devices", "--json"], environment: environment)
            #expect(devices.status == 0)
            let report = try devices.json()
            #expect(report["chosen"] as? String == "cpu")
            #expect((report["devices"] as? [[String: Any]])?.count == 1)
            let text = try Program.run(["devices"], environment: environment)
            #expect(text.lines.last == "--device auto takes: cpu")
            let plan = try Program.run(["explain", "--json"], environment: environment)
            #expect(try plan.json()["device"] as? String == "cpu")
        }
        #expect(try folder.contents() == ["lib"])
    }

    @Test("A device that is not there is named")
    func unknownDevice() throws {
        expectFailure(
            try Program.run(["generate", "x", "--device", "vulkan:Voodoo 2"]), mentions: ["Vulkan", "Voodoo 2"])
        expectFailure(try Program.run(["generate", "x", "--device", "vulkan:99"]), mentions: ["Vulkan", "99"])
    }
}
