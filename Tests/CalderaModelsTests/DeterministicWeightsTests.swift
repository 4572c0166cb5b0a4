import CalderaFormats
import CalderaGraph
import CalderaTestSupport
import Foundation
import Testing

/// The formula weights agree with the values that NumPy gave for the same names and positions.
struct DeterministicWeightsTests {
    /// Name indices are what the formula depends on, so each tensor comes with neighbours that fix its place.
    @Test func followsTheFormulaOfTheGoldens() throws {
        let weights = DeterministicWeights([
            "conv_in.bias": [32], "conv_in.weight": [32, 4, 3, 3], "conv_norm_out.bias": [32],
            "conv_norm_out.weight": [32],
        ])
        try expect(weights, "conv_in.bias", [0.1, 0.095534, 0.082534, 0.062161])
        try expect(weights, "conv_in.weight", [0.135013, -0.081450, -0.153853, -0.164091])
        try expect(weights, "conv_norm_out.weight", [1.014112, 0.947016, 0.904840, 0.907419])
    }

    @Test func reachesFarPositions() throws {
        var shapes = Dictionary(uniqueKeysWithValues: (0..<103).map { (String(format: "a%03d", $0), Shape([1])) })
        shapes["time_embedding.linear_1.weight"] = [128, 32]
        let weights = DeterministicWeights(shapes)
        try expect(weights, "time_embedding.linear_1.weight", [-0.042735, -0.175325, 0.002182, 0.175829])
    }

    /// "conv_in.weight" is number 1 above; an upper-case name before it makes it number 2.
    @Test func sortsNamesByBytes() throws {
        let weights = DeterministicWeights(["conv_in.bias": [4], "conv_in.weight": [2, 2], "Z": [1]])
        #expect(weights.names == ["Z", "conv_in.bias", "conv_in.weight"])
        try expect(weights, "conv_in.bias", [0.1 * cos(1.0), 0.1 * cos(1.3), 0.1 * cos(1.6), 0.1 * cos(1.9)])
    }

    @Test func lendsTheBytesOfItsValues() throws {
        let weights = DeterministicWeights(["a.weight": [3, 5]])
        #expect(weights.info("a.weight") == WeightInfo(dtype: .float32, shape: [3, 5]))
        let bytes = try weights.withBytes("a.weight") { Array($0.bindMemory(to: Float.self)) }
        #expect(try bytes == weights.values("a.weight"))
        #expect(weights.info("b") == nil)
        #expect(throws: CalderaError.self) { try weights.withBytes("b") { $0.count } }
    }

    private func expect(
        _ weights: DeterministicWeights, _ name: String, _ expected: [Double],
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let values = try weights.values(name).prefix(expected.count)
        for (value, reference) in zip(values, expected) {
            #expect(abs(Double(value) - reference) < 1e-6, "\(name)", sourceLocation: sourceLocation)
        }
    }
}

/// A fixture is complete, and the folder that is written from it can be read back.
struct TinyModelTests {
    static func fixture(_ family: String) throws -> TinyModel {
        let folder = try #require(Bundle.module.resourceURL).appending(path: "Fixtures/models/\(family)")
        return TinyModel(folder)
    }

    @Test(arguments: TinyModel.families)
    func goldensHoldFiniteInputsAndOutputsOfEveryPart(_ family: String) throws {
        let model = try Self.fixture(family)
        let golden = try model.golden()
        for name in ["unet.output", "unet_odd.output", "vae.decoded", "vae.moments", "vae_odd.decoded"] {
            let tensor = try golden.tensor(name)
            #expect(tensor.floats.allSatisfy { $0.isFinite }, "\(name)")
            #expect(relativeL2(tensor.channelsLast().channelsFirst(), tensor) == 0, "\(name)")
        }
        for component in try model.components() where component.hasPrefix("text_encoder") {
            #expect(try golden.tensor("\(component).ids").shape == [2, 77])
        }
        for run in try model.runs().cases {
            let latents = try golden.tensor(run.latents)
            #expect(latents.shape == Shape([run.seeds.count, 4, run.height / 8, run.width / 8]))
        }
    }

    @Test func writesAFolderThatHoldsTheFormulasValues() throws {
        let model = try Self.fixture("sdxl")
        let scratch = FileManager.default.temporaryDirectory.appending(path: "caldera-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: scratch) }
        let tokenizers = scratch.appending(path: "embedded")
        for name in ["tokenizer", "tokenizer_2"] {
            let folder = tokenizers.appending(path: name)
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            try Data(name.utf8).write(to: folder.appending(path: "vocab.json"))
        }
        let folder = scratch.appending(path: "model")
        try model.write(to: folder, embeddedModel: tokenizers)

        let file = try SafetensorsFile(folder.appending(path: "unet/diffusion_pytorch_model.safetensors").path)
        let weights = try model.weights("unet")
        #expect(file.names == weights.names.sorted())
        let stored = try GoldenFile(file).tensor("mid_block.resnets.1.conv2.weight")
        #expect(try stored.floats == weights.values("mid_block.resnets.1.conv2.weight"))
        for path in [
            "model_index.json", "scheduler/scheduler_config.json", "text_encoder_2/model.safetensors",
            "tokenizer/vocab.json", "tokenizer_2/vocab.json", "vae/config.json",
        ] {
            #expect(FileManager.default.fileExists(atPath: folder.appending(path: path).path), "\(path)")
        }
    }
}

struct ComparisonTests {
    @Test func relativeErrorIsTheRatioOfNorms() {
        let reference = HostTensor([2], [3, 4] as [Float])
        #expect(abs(relativeL2(HostTensor([2], [3, 5] as [Float]), reference) - 0.2) < 1e-12)
        #expect(relativeL2(reference, reference) == 0)
        #expect(relativeL2(HostTensor([2], [3, .nan] as [Float]), reference) == .infinity)
        #expect(relativeL2(HostTensor([1], [3] as [Float]), reference) == .infinity)
        #expect(relativeL2(reference, HostTensor([2], [0, 0] as [Float])) == .infinity)
    }

    @Test func psnrIsOfEightBitSamples() {
        #expect(abs(psnr([10, 20], [11, 20]) - 10 * log10(255 * 255 * 2)) < 1e-12)
        #expect(psnr([1, 2], [1, 2]) == .infinity)
        #expect(psnr([1], [1, 2]) == -.infinity)
    }

    @Test func layoutsAreTransposedPerPicture() {
        let planes = HostTensor([2, 2, 1, 2], [0, 1, 2, 3, 4, 5, 6, 7] as [Float])
        #expect(planes.channelsLast() == HostTensor([2, 1, 2, 2], [0, 2, 1, 3, 4, 6, 5, 7] as [Float]))
        #expect(planes.channelsLast().channelsFirst() == planes)
    }
}
