import CalderaFormats
import CalderaGraph
import CalderaTestSupport
import Foundation
import Testing

@Suite("LoRAs on the command line")
struct AdapterTests {
    @Test("By option and by the prompt's tag, from safetensors and from PyTorch's pickle: the same picture")
    func forms() throws {
        let folder = try TemporaryFolder()
        let plain = try Program.pixels(["a red circle"], in: folder)
        let merged = try Program.pixels(["a red circle", "--lora", TrainedAdapter.safetensors + ":0.8"], in: folder)
        #expect(meanDifference(merged, plain) > 1)
        #expect(try Program.pixels(["a red circle", "--lora", TrainedAdapter.pickle + ":0.8"], in: folder) == merged)
        #expect(try Program.pixels(["a red circle", "--lora", TrainedAdapter.safetensors + ":0"], in: folder) == plain)
        for (name, file) in [("st", TrainedAdapter.safetensors), ("pt", TrainedAdapter.pickle)] {
            let suffix = URL(fileURLWithPath: file).pathExtension
            try folder.write("\(name)/deep/outline.\(suffix)", Data(contentsOf: URL(fileURLWithPath: file)))
            let tagged = ["a red circle<lora:outline:0.8>", "--lora-folder", folder.path(name)]
            #expect(try Program.pixels(tagged, in: folder) == merged, "\(name)")
        }
    }

    @Test("The report names each LoRA with its weights, those of the prompt included")
    func report() throws {
        let folder = try TemporaryFolder()
        try folder.write("loras/outline.pt", Data(contentsOf: URL(fileURLWithPath: TrainedAdapter.pickle)))
        let outcome = try Program.draw(
            [
                "x <lora:outline:0.25>", "--lora", TrainedAdapter.safetensors + ":0.5,1.5", "--lora-folder",
                folder.path("loras"), "--json",
            ], in: folder)
        #expect(outcome.status == 0, "\(outcome.error)")
        let loras = try #require(try outcome.json()["loras"] as? [[String: Any]])
        #expect(loras.map { $0["path"] as? String } == [TrainedAdapter.safetensors, folder.path("loras/outline.pt")])
        #expect(loras.map { $0["text_weight"] as? Double } == [0.5, 0.25])
        #expect(loras.map { $0["unet_weight"] as? Double } == [1.5, 0.25])
    }

    @Test("A LoRA that fits in part is an error, unless that is allowed: then what is left out is said")
    func partial() throws {
        let folder = try TemporaryFolder()
        let source = try SafetensorsFile(TrainedAdapter.safetensors)
        var tensors = try source.names.map { try SafetensorsWriter.Tensor($0, GoldenFile(source).tensor($0)) }
        for (half, shape) in [("down", Shape([4, 8])), ("up", [8, 4])] {
            let values = HostTensor(shape, [Float](repeating: 0.5, count: 32))
            tensors.append(SafetensorsWriter.Tensor("lora_unet_middle_of_nowhere.lora_\(half).weight", values))
        }
        try SafetensorsWriter.write(tensors, to: folder.path("odd.safetensors"))
        let run = ["x", "--lora", folder.path("odd.safetensors")]
        let refused = try Program.draw(run, in: folder)
        #expect(refused.status == 1 && refused.output.isEmpty)
        #expect(refused.lastErrorLine.contains("lora_unet_middle_of_nowhere.lora_down.weight"))
        #expect(refused.lastErrorLine.contains("--lora-allow-partial"))
        #expect(try folder.contents() == ["odd.safetensors"])
        let allowed = try Program.draw(run + ["--lora-allow-partial", "--output", "p.png"], in: folder)
        #expect(allowed.status == 0)
        let warnings = allowed.error.split(separator: "\n").filter { $0.hasPrefix("caldera: warning: ") }
        #expect(warnings.count == 1)
        #expect(warnings.first?.contains("2 LoRA tensors fit nothing") == true, "\(warnings)")
        #expect(try folder.pixels("p.png") == Program.pixels(["x", "--lora", TrainedAdapter.safetensors], in: folder))
    }
}
