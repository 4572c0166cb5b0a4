import Caldera
import CalderaAdapters
import CalderaDiffusion
import CalderaFormats
import CalderaGraph
import CalderaTestSupport
import Foundation
import Testing

/// Adapters that change between the pictures of one generator.
@Suite(.serialized) struct AdapterSwitchTests {
    @Test("Each picture is that of a generator opened for it alone; the base is read once", arguments: [false, true])
    func switching(embeds: Bool) throws {
        let temporary = try TemporaryFolder()
        let model = try Self.model("sd15", temporary)
        let (first, second) = (temporary.path("a.safetensors"), temporary.path("b.safetensors"))
        try Self.writeAdapter(first, seed: 1, model)
        try Self.writeAdapter(second, seed: 2, model)
        let stacks: [[AdapterSpec]] = [
            [Self.spec(first, 1)], [], [Self.spec(first, 1)], [Self.spec(second, 1)],
            [Self.spec(first, 0.5), Self.spec(second, 0.5)], [],
        ]
        var options = ModelOptions(model: model.path)
        if embeds { options.embeddings = [try Self.embedding(temporary)] }
        let fresh = try stacks.map { stack in
            try ImageGenerator(options, device: .cpu).generate(Self.request(stack)) { _ in }
        }
        let generator = try ImageGenerator(options, device: .cpu)
        // Mapped files stay readable, but nothing can be opened any more.
        try FileManager.default.removeItem(at: model)
        for (index, stack) in stacks.enumerated() {
            let result = try generator.generate(Self.request(stack)) { _ in }
            #expect(result.latents.bits == fresh[index].latents.bits, "stack \(index)")
            #expect(result.images[0].rgb == fresh[index].images[0].rgb, "stack \(index)")
        }
        let different = Set(fresh.map { $0.latents.bits })
        #expect(different.count == 4)
    }

    @Test("The text encoder's part counts alone as well") func textWeights() throws {
        let temporary = try TemporaryFolder()
        let model = try Self.model("sdxl", temporary)
        let path = temporary.path("a.safetensors")
        try Self.writeAdapter(path, seed: 3, model)
        let generator = try ImageGenerator(ModelOptions(model: model.path), device: .cpu)
        let weights: [(text: Double, unet: Double)] = [(0, 0), (1, 0), (0, 1), (1, 1)]
        let pictures = try weights.map { weights in
            let spec = AdapterSpec(path, textWeight: weights.text, unetWeight: weights.unet)
            return try generator.generate(Self.request([spec])) { _ in }.latents.bits
        }
        #expect(Set(pictures).count == 4)
        #expect(try generator.generate(Self.request([])) { _ in }.latents.bits == pictures[0])
    }

    @Test("What a broken adapter would have changed stays as it was") func broken() throws {
        let temporary = try TemporaryFolder()
        let model = try Self.model("sd15", temporary)
        let good = temporary.path("good.safetensors")
        try Self.writeAdapter(good, seed: 1, model)
        let bad = try temporary.write("bad.safetensors", "no tensors")
        let generator = try ImageGenerator(ModelOptions(model: model.path), device: .cpu)
        let before = try generator.generate(Self.request([Self.spec(good, 1)])) { _ in }
        #expect(throws: CalderaError.self) { try generator.generate(Self.request([Self.spec(bad, 1)])) { _ in } }
        let after = try generator.generate(Self.request([Self.spec(good, 1)])) { _ in }
        #expect(after.latents.bits == before.latents.bits)
    }

    // MARK: Files

    private static func spec(_ path: String, _ weight: Double) -> AdapterSpec {
        AdapterSpec(path, textWeight: weight, unetWeight: weight)
    }

    private static func request(_ adapters: [AdapterSpec]) -> GenerationRequest {
        var request = GenerationRequest(
            prompt: "a red toy circle", width: 32, height: 32, steps: 2, guidanceScale: 4, seed: 1, scheduler: "euler")
        request.adapters = adapters
        return request
    }

    private static func model(_ family: String, _ temporary: TemporaryFolder) throws -> URL {
        let folder = temporary.url.appending(path: family)
        try TinyModel(GoldenModel.fixtures.appending(path: family)).write(
            to: folder, embeddedModel: TestPaths.embeddedModel)
        return folder
    }

    /// Rank 2 on every query of attention, in the UNet and in each text encoder, in PEFT's names.
    private static func writeAdapter(_ path: String, seed: UInt64, _ model: URL) throws {
        let parts = try ModelLoader.open(ModelOptions(model: model.path)).parts
        var sources = [("unet", parts.unetWeights)]
        sources += parts.encoders.map { ($0.name, $0.weights) }
        var random = TorchRandom(seed: seed)
        var tensors: [SafetensorsWriter.Tensor] = []
        for (component, weights) in sources {
            for name in weights.names.sorted() where name.hasSuffix("to_q.weight") || name.hasSuffix("q_proj.weight") {
                guard let shape = weights.info(name)?.shape else { continue }
                let layer = "\(component).\(name.dropLast(".weight".count))"
                for (half, size) in [("lora_A", Shape([2, shape[1]])), ("lora_B", Shape([shape[0], 2]))] {
                    let values = random.normal(count: size.count).map { $0 / 2 }
                    tensors.append(SafetensorsWriter.Tensor("\(layer).\(half).weight", HostTensor(size, values)))
                }
            }
        }
        try SafetensorsWriter.write(tensors, metadata: [:], to: path)
    }

    private static func embedding(_ temporary: TemporaryFolder) throws -> String {
        let config = try JSONConfig(
            contentsOf: GoldenModel.fixtures.appending(path: "sd15/text_encoder/config.json").path)
        var random = TorchRandom(seed: 9)
        let size: Shape = [2, try config.int("hidden_size")]
        let path = temporary.path("toy.safetensors")
        try SafetensorsWriter.write(
            [SafetensorsWriter.Tensor("emb_params", HostTensor(size, random.normal(count: size.count)))],
            metadata: [:], to: path)
        return path
    }
}
