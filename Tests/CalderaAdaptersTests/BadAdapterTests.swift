import CalderaAdapters
import CalderaFormats
import CalderaGraph
import CalderaTestSupport
import Testing

/// Adapters that are broken, of kinds that cannot be merged, or made for other models.
@Suite struct BadAdapterTests {
    private static let layer = "lora_unet_conv_in"
    private static let names = [
        "down": "\(layer).lora_down.weight", "up": "\(layer).lora_up.weight", "mid": "\(layer).lora_mid.weight",
    ]

    private func message(_ tensors: [String: HostTensor], metadata: [String: String] = [:]) -> String {
        #expect(throws: CalderaError.self) { _ = try adapter(tensors, metadata: metadata) }?.message ?? ""
    }

    @Test(
        arguments: [
            (["up": [4, 2]], "conv_in.lora_up.weight lacks its counterpart"),
            (["down": [2, 4]], "conv_in.lora_down.weight lacks its counterpart"),
            (["down": [3, 4], "up": [4, 2]], "[4, 2] and lora_unet_conv_in.lora_down.weight [3, 4] do not fit"),
            (["down": [2, 4], "up": [4, 2], "mid": [3, 2, 3, 3]], "do not fit each other"),
            (["down": [2, 4], "up": [4, 2], "mid": [2, 3, 3, 3]], "do not fit each other"),
            (["down": [0, 4], "up": [4, 0]], "impossible shape"),
            (["down": [2, 4], "up": [4, 2, 3, 3]], "do not fit each other"),
            (["down": [1, 2, 3, 4, 5], "up": [4, 1]], "impossible shape"),
        ] as [([String: Shape], String)])
    func namesBrokenPairs(shapes: [String: Shape], expected: String) {
        var tensors: [String: HostTensor] = [:]
        for (part, shape) in shapes { tensors[Self.names[part] ?? ""] = ramp(shape) }
        let message = message(tensors)
        #expect(message.contains(expected), "\(message)")
        #expect(message.hasPrefix("some.safetensors"))
    }

    @Test(arguments: [
        (["hada_w1_a", "hada_w1_b"], "lacks one of its halves"), (["lokr_w1"], "lacks one of its factors"),
        (["hada_w1_a"], "lacks its counterpart"), (["alpha"], "lacks its counterpart"),
        (["on_input"], "IA3"), (["a1.weight"], "GLoRA"), (["oft_blocks"], "OFT"), (["bias_indices"], "sparse"),
        (["strange"], "is no LoRA"),
    ])
    func namesIncompleteAndRefusedKinds(parts: [String], expected: String) {
        let tensors = Dictionary(uniqueKeysWithValues: parts.map { ("\(Self.layer).\($0)", ramp([2, 2])) })
        let message = message(tensors)
        #expect(message.contains(expected), "\(message)")
    }

    @Test func namesTwoTensorsForOnePart() {
        let message = message([
            "unet.conv_in.lora_A.weight": ramp([1, 2]), "unet.conv_in.lora_A.default.weight": ramp([1, 2]),
            "unet.conv_in.lora_B.weight": ramp([2, 1]),
        ])
        #expect(message.contains("are the same part of one module"), "\(message)")
    }

    @Test func refusesMetadataThatIsNoJSON() {
        let pair = ["unet.conv_in.lora_A.weight": ramp([1, 2]), "unet.conv_in.lora_B.weight": ramp([2, 1])]
        #expect(message(pair, metadata: ["lora_adapter_metadata": "{"]).contains("lora_adapter_metadata"))
        let settings = ["lora_adapter_metadata": #"{"unet.lora_alpha": "much"}"#]
        #expect(message(pair, metadata: settings).contains("unet.lora_alpha"))
    }

    private func stackError(
        _ tensors: [String: HostTensor], for bases: [String: any WeightSource], allowPartial: Bool = false
    ) throws -> String {
        let item = AdapterStack.Item(try adapter(tensors))
        let error = #expect(throws: CalderaError.self) {
            _ = try AdapterStack([item], for: bases, allowPartial: allowPartial)
        }
        return error?.message ?? ""
    }

    private func pair(_ layer: String, rows: Int, columns: Int) -> [String: HostTensor] {
        ["\(layer).lora_down.weight": ramp([2, columns]), "\(layer).lora_up.weight": ramp([rows, 2])]
    }

    /// Recognised by the width of what the cross-attention reads, under either kind of name.
    @Test(arguments: [
        ("lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k", 2048, "SDXL (cross-attention width 2048)"),
        ("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_v", 1024, "Stable Diffusion 2.x"),
        ("lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k", 1280, "the SDXL refiner"),
        ("lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k", 4096, "for cross-attention width 4096"),
    ])
    func saysForWhichModelItWasMade(layer: String, width: Int, expected: String) throws {
        let unet = try ShapesOnly(manifest: "names/sd15.json")
        let message = try stackError(pair(layer, rows: 640, columns: width), for: ["unet": unet], allowPartial: true)
        #expect(message.hasPrefix("some.safetensors was made for"), "\(message)")
        #expect(message.contains(expected) && message.hasSuffix("; this model has 768."), "\(message)")
    }

    @Test func namesLayersOfOtherShapes() throws {
        let unet = try ShapesOnly(manifest: "names/sd15.json")
        let tensors = pair("lora_unet_time_embedding_linear_1", rows: 1280, columns: 256)
        let message = try stackError(tensors, for: ["unet": unet])
        #expect(message.contains("changes time_embedding_linear_1 by [1280, 256]"), "\(message)")
        #expect(message.contains("time_embedding.linear_1.weight of this model's unet is [1280, 320]"), "\(message)")
    }

    @Test func namesBiasesThatTheModelLacks() throws {
        let unet = ShapesOnly(["conv_in.weight": [4, 4]])
        let message = try stackError(["lora_unet_conv_in.diff_b": ramp([4])], for: ["unet": unet])
        #expect(message.contains("changes conv_in.bias, which this model's unet does not have"), "\(message)")
    }

    @Test func namesMagnitudesThatDoNotFit() throws {
        let unet = ShapesOnly(["conv_in.weight": [4, 3]])
        let tensors = pair(Self.layer, rows: 4, columns: 3).merging(["\(Self.layer).dora_scale": ramp([1, 4])]) { $1 }
        #expect(try stackError(tensors, for: ["unet": unet]).contains("dora_scale has the shape [1, 4]"))
    }

    /// All of them are in one message, up to twenty; the rest are counted.
    @Test func listsWhatMatchesNothing() throws {
        let unet = ShapesOnly(["conv_in.weight": [4, 4]])
        var tensors = pair(Self.layer, rows: 4, columns: 4)
        for index in 10..<21 {
            tensors.merge(pair("lora_unet_nowhere_\(index)", rows: 4, columns: 4)) { $1 }
        }
        tensors["bundle_emb.word.string_to_param.*"] = ramp([1, 4])
        let message = try stackError(tensors, for: ["unet": unet])
        #expect(message.contains("some.safetensors: 23 tensors match nothing in this model: bundle_emb"), "\(message)")
        #expect(message.contains("lora_unet_nowhere_10.lora_down.weight"))
        #expect(message.contains("lora_unet_nowhere_19.lora_down.weight and 3 more."))
        #expect(!message.contains("lora_unet_nowhere_20"))
        #expect(message.hasSuffix("Give --lora-allow-partial to leave them out."), "\(message)")
        let file = try adapter(tensors)
        let stack = try AdapterStack([AdapterStack.Item(file)], for: ["unet": unet], allowPartial: true)
        #expect(stack.unmatchedKeys.count == 23)
        #expect(stack.changedNames("unet") == ["conv_in.weight"])
    }

    @Test func anAdapterWithoutAnyMatchIsAnErrorInAnyCase() throws {
        let unet = ShapesOnly(["conv_in.weight": [4, 4]])
        let tensors = pair("lora_unet_double_blocks_0_img_attn_qkv", rows: 4, columns: 4)
        let message = try stackError(tensors, for: ["unet": unet], allowPartial: true)
        #expect(message.contains("2 tensors match nothing"), "\(message)")
        #expect(message.hasSuffix("It was made for another kind of model."), "\(message)")
    }

    @Test func namesValuesThatAreNotFinite() throws {
        let unet = MemoryWeights(["conv_in.weight": ramp([4, 4])])
        var tensors = pair(Self.layer, rows: 4, columns: 4)
        tensors["\(Self.layer).lora_up.weight"] = HostTensor([4, 2], [0, 0, 0, .nan, 0, 0, 0, 0] as [Float])
        let stack = try AdapterStack([AdapterStack.Item(adapter(tensors))], for: ["unet": unet])
        let weights = try stack.adapted(unet, component: "unet")
        let error = #expect(throws: CalderaError.self) { try weights.bytes("conv_in.weight") }
        #expect(error?.message.contains("conv_in.lora_up.weight holds a number that is not finite") == true)
        tensors["\(Self.layer).alpha"] = HostTensor([], [Float.infinity])
        #expect(message(tensors).contains("conv_in.alpha holds a number that is not finite"))
        tensors["\(Self.layer).alpha"] = ramp([2])
        #expect(message(tensors).contains("should be one number"))
    }

    @Test func namesSumsThatTheTypeCannotHold() throws {
        let unet = MemoryWeights(["conv_in.weight": ramp([4, 4])], dtype: .float16)
        let file = try adapter(pair(Self.layer, rows: 4, columns: 4))
        let stack = try AdapterStack([AdapterStack.Item(file, unetWeight: 1e6)], for: ["unet": unet])
        let weights = try stack.adapted(unet, component: "unet")
        let error = #expect(throws: CalderaError.self) { try weights.bytes("conv_in.weight") }
        #expect(error?.message.contains("conv_in.weight has numbers that float16 cannot hold") == true)
    }

    @Test func anotherBaseIsRefused() throws {
        let unet = MemoryWeights(["conv_in.weight": ramp([4, 4])])
        let file = try adapter(pair(Self.layer, rows: 4, columns: 4))
        let stack = try AdapterStack([AdapterStack.Item(file)], for: ["unet": unet])
        #expect(throws: CalderaError.self) {
            _ = try stack.adapted(MemoryWeights(["conv_in.weight": ramp([4, 5])]), component: "unet")
        }
        #expect(throws: CalderaError.self) { _ = try stack.adapted(MemoryWeights([:]), component: "unet") }
        let notFinite = AdapterStack.Item(file, unetWeight: .infinity)
        #expect(throws: CalderaError.self) { _ = try AdapterStack([notFinite], for: ["unet": unet]) }
    }
}
