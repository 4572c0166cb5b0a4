import CalderaAdapters
import CalderaGraph
import CalderaTestSupport
import Testing

/// Adapters of the forms that trainers write, for tiny models, against diffusers' load_lora_weights and fuse_lora.
@Suite struct PipelineTests {
    private struct Case: Decodable {
        let family: String
        let weight: Double
        /// The same for all layers, or null where the file has none.
        let alpha: Float?
        let metadata: [String: String]
        let tensors: [String: [Int]]
    }

    /// How the golden script walks through a weight.
    private static let stride = 7919

    @Test(arguments: ["sd15_kohya", "sdxl_kohya", "sdxl_kohya_diffusers", "sdxl_peft", "sd15_processor"])
    func mergesLikeDiffusers(name: String) throws {
        let golden = try GoldenFile(Fixture.url("pipelines/merged.safetensors"))
        let described = try Fixture.json("pipelines/\(name).json", Case.self)
        let file = try AdapterFile(
            MemoryWeights(tensors(described)), metadata: described.metadata, path: "\(name).safetensors")
        let model = TinyModel(TestPaths.fixture("models/\(described.family)", of: "CalderaModelsTests"))
        var bases: [String: any WeightSource] = [:]
        for component in try model.components() where component != "vae" {
            bases[component] = try model.weights(component)
        }
        let item = AdapterStack.Item(file, unetWeight: described.weight, textWeight: described.weight)
        let stack = try AdapterStack([item], for: bases)
        #expect(stack.unmatchedKeys.isEmpty)
        var compared = 0
        for (component, base) in bases {
            let weights = try stack.adapted(base, component: component)
            let expected = golden.names(startingWith: "\(name)/\(component)/")
            #expect(weights.changedNames.count == expected.count)
            for weight in weights.changedNames {
                let sample = try golden.tensor("\(name)/\(component)/\(weight)")
                let merged = try weights.tensor(weight).floats
                let taken = (0..<sample.shape.count).map { merged[$0 * Self.stride % merged.count] }
                #expect(relativeL2(HostTensor(sample.shape, taken), sample) < 1e-6, "\(component): \(weight)")
                compared += 1
            }
        }
        #expect(compared > 50)
    }

    private func tensors(_ described: Case) throws -> [String: HostTensor] {
        let weights = DeterministicWeights(described.tensors.mapValues { Shape($0) })
        let pairs = try weights.names.map { ($0, try weights.tensor($0)) }
        var tensors = Dictionary(uniqueKeysWithValues: pairs)
        let mark = ".lora_down.weight"
        guard let alpha = described.alpha else { return tensors }
        for name in weights.names where name.hasSuffix(mark) {
            tensors["\(name.dropLast(mark.count)).alpha"] = HostTensor([], [alpha])
        }
        return tensors
    }
}
