import CalderaAdapters
import CalderaFormats
import CalderaGraph
import CalderaTestSupport
import Testing

/// Every kind of adapter merged into a few layers, against LyCORIS' own functions and PEFT's rules.
@Suite struct FamilyTests {
    private static let cases: [String] =
        (try? Fixture.json("families/cases.json", [String: Double].self).keys.sorted()) ?? []

    private let base: SafetensorsFile
    private let merged: SafetensorsFile
    private let strengths: [String: Double]

    init() throws {
        base = try SafetensorsFile(Fixture.path("families/base.safetensors"))
        merged = try SafetensorsFile(Fixture.path("families/merged.safetensors"))
        strengths = try Fixture.json("families/cases.json")
    }

    private func item(_ name: String) throws -> AdapterStack.Item {
        let strength = try #require(strengths[name])
        let file = try AdapterFile(Fixture.path("families/\(name).safetensors"))
        // The layers are a UNet's: the text weight must not matter.
        return AdapterStack.Item(file, unetWeight: strength, textWeight: 17)
    }

    private func check(_ weights: AdaptedWeights, _ name: String) throws {
        let golden = GoldenFile(merged).names(startingWith: "\(name)/")
        #expect(!golden.isEmpty)
        #expect(weights.changedNames == Set(golden.map { String($0.dropFirst(name.count + 1)) }))
        for weight in weights.changedNames {
            #expect(weights.info(weight) == base.info(weight))
            let error = relativeL2(try weights.tensor(weight), try merged.tensor("\(name)/\(weight)"))
            #expect(error < 1e-6, "\(name): \(weight)")
        }
        for weight in base.names where !weights.changedNames.contains(weight) {
            #expect(try weights.bytes(weight) == base.bytes(weight))
        }
    }

    @Test func allKindsArePresent() { #expect(Self.cases.count >= 28) }

    @Test(arguments: cases)
    func mergesLikeItsMakers(name: String) throws {
        let stack = try AdapterStack([item(name)], for: ["unet": base])
        #expect(stack.unmatchedKeys.isEmpty)
        try check(stack.adapted(base, component: "unet"), name)
    }

    @Test func mergesSeveralInOrder() throws {
        let names = ["kohya_linear", "kohya_negative", "lokr_full"]
        let stack = try AdapterStack(names.map(item), for: ["unet": base])
        try check(stack.adapted(base, component: "unet"), "stack")
    }

    /// Halves are the fp32 sum rounded once, whatever the layer is made of.
    @Test(arguments: [DType.float16, .bfloat16])
    func roundsOnceToTheStoredType(dtype: DType) throws {
        let tensors = try Dictionary(uniqueKeysWithValues: base.names.map { ($0, try base.tensor($0)) })
        let halves = MemoryWeights(tensors, dtype: dtype)
        let floats = MemoryWeights(tensors.mapValues { ElementCoding.rounded($0, to: dtype) })
        let items = try ["kohya_linear", "locon_tucker", "loha_linear", "dora_conv_columns", "norm"].map(item)
        let stack = try AdapterStack(items, for: ["unet": halves])
        let exact = try stack.adapted(floats, component: "unet")
        let stored = try stack.adapted(halves, component: "unet")
        #expect(stored.changedNames.count == 4)
        for name in stored.changedNames {
            #expect(stored.info(name)?.dtype == dtype)
            #expect(try stored.bytes(name) == ElementCoding.encoded(exact.tensor(name).floats, as: dtype))
        }
    }

    /// A weight of several passes: more rows than are merged at one time, and a last pass of fewer.
    @Test func mergesLargeWeightsInParts() throws {
        let (rows, width, rank) = (1100, 512, 2)
        let name = "mid_block.attentions.0.proj_in"
        let base = MemoryWeights(["\(name).weight": ramp([rows, width])])
        let up = ramp([rows, rank], from: -1)
        let down = ramp([rank, width], from: -0.5)
        let file = try adapter(["unet.\(name).lora_A.weight": down, "unet.\(name).lora_B.weight": up])
        let stack = try AdapterStack([AdapterStack.Item(file, unetWeight: 0.5)], for: ["unet": base])
        let merged = try stack.adapted(base, component: "unet").tensor("\(name).weight").floats
        for row in [0, 511, 512, 1023, 1024, 1099] {
            for column in [0, 1, 511] {
                let product = (0..<rank).reduce(Float(0)) { sum, index in
                    sum + up.floats[row * rank + index] * down.floats[index * width + column]
                }
                let expected = ramp([rows, width]).floats[row * width + column] + 0.5 * product
                #expect(abs(merged[row * width + column] - expected) < 1e-6)
            }
        }
    }

    @Test func weightZeroChangesNothing() throws {
        let file = try AdapterFile(Fixture.path("families/kohya_linear.safetensors"))
        let stack = try AdapterStack([AdapterStack.Item(file, unetWeight: 0)], for: ["unet": base])
        #expect(stack.changedNames("unet").isEmpty)
        let weights = try stack.adapted(base, component: "unet")
        // Not a copy: the very bytes of the mapped file.
        for name in base.names {
            let own = try base.withBytes(name) { $0.baseAddress }
            #expect(try weights.withBytes(name) { $0.baseAddress } == own)
        }
    }
}
