import CalderaTestSupport
import Foundation
import Testing

@Suite("Devices, inspect and explain")
struct ReportTests {
    @Test("devices lists the processor and says what auto takes, as text and as JSON")
    func devices() throws {
        let report = try Program.run(["devices", "--json"]).json()
        let chosen = try #require(report["chosen"] as? String)
        let devices = try #require(report["devices"] as? [[String: Any]])
        #expect(devices.contains { $0["name"] as? String == chosen })
        // Never silently the software driver.
        let chosenType = devices.first { $0["name"] as? String == chosen }?["type"] as? String
        #expect(chosenType != "software driver")
        let text = try Program.run(["devices"]).output
        #expect(text.hasSuffix("--device auto takes: \(chosen)\n"))
        for device in devices { #expect(text.contains(try #require(device["name"] as? String))) }
    }

    @Test("inspect tells the parts of a model folder and the memory at a size")
    func inspectFolder() throws {
        let run = ["inspect", TestPaths.embeddedModel.path, "--device", "cpu"]
        let report = try Program.run(run + ["--width", "256", "--height", "64", "--json"]).json()
        #expect(report["architecture"] as? String == "StableDiffusionXLPipeline")
        let parts = try #require(report["parts"] as? [[String: Any]])
        #expect(Set(parts.compactMap { $0["name"] as? String }) == ["text_encoder", "text_encoder_2", "unet", "vae"])
        #expect(parts.allSatisfy { ($0["parameters"] as? Int ?? 0) > 100_000 })
        #expect(report["size"] as? [String: Int] == ["width": 256, "height": 64])
        let memory = try #require(report["memory_needed"] as? [String: Int])
        #expect((memory["fp32"] ?? 0) > 1 << 20)
        // Not every processor computes in bf16.
        if let half = memory["bf16"] { #expect(half < (memory["fp32"] ?? 0)) }
        #expect(report["device"] as? String == "cpu")
        let text = try Program.run(run).output
        for part in ["text_encoder_2", "UNet2DConditionModel", "AutoencoderKL", "memory needed"] {
            #expect(text.contains(part), "\(part)")
        }
    }

    @Test("inspect lists the tensors of a file, whatever their names hold")
    func inspectFile() throws {
        let folder = try TemporaryFolder()
        let header = #"{"odd\u001b[31mname":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}}"#
        var data = withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian) { Data($0) }
        data.append(contentsOf: header.utf8)
        data.append(Data(count: 8))
        let path = try folder.write("odd.safetensors", data)
        let outcome = try Program.run(["inspect", path])
        #expect(outcome.status == 0)
        #expect(outcome.output.contains("[1, 2]"))
        #expect(!outcome.output.contains("\u{1B}"), "a file's names must not command the terminal")
    }

    @Test("explain shows every stage with its nodes and memory")
    func explain() throws {
        let run = ["explain", "--device", "cpu", "--width", "64", "--height", "64"]
        let report = try Program.run(run + ["--json"]).json()
        #expect(report["device"] as? String == "cpu")
        #expect(report["width"] as? Int == 64)
        let stages = try #require(report["stages"] as? [[String: Any]])
        #expect(stages.count == 5)
        let text = try Program.run(run).output
        for stage in stages {
            #expect(text.contains(try #require(stage["name"] as? String)))
            let nodes = try #require(stage["nodes"] as? [[String: Any]])
            #expect(!nodes.isEmpty)
            for key in ["label", "operation", "kernel"] {
                #expect(nodes.allSatisfy { ($0[key] as? String)?.isEmpty == false }, "\(key)")
            }
            let arena = try #require(stage["arena_bytes"] as? Int)
            #expect(arena >= stage["largest_live_set_bytes"] as? Int ?? .max)
        }
    }
}
