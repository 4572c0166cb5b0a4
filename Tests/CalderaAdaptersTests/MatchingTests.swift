import CalderaAdapters
import CalderaFormats
import CalderaGraph
import CalderaTestSupport
import Foundation
import Testing

/// Which layers adapters find in the models that they were made for.
@Suite struct MatchingTests {
    private static let projections = ["to_q", "to_k", "to_v", "to_out.0"]

    /// The attention projections among a UNet's weights.
    private func projections(_ unet: ShapesOnly) -> [(path: String, shape: Shape)] {
        unet.names.compactMap { name in
            guard let shape = unet.info(name)?.shape, name.hasSuffix(".weight"), name.contains("attn") else {
                return nil
            }
            let path = String(name.dropLast(".weight".count))
            return Self.projections.contains { path.hasSuffix(".\($0)") } ? (path, shape) : nil
        }
    }

    private func changed(_ tensors: [String: Shape], _ unet: ShapesOnly) throws -> Set<String> {
        let file = try AdapterFile(ShapesWithScalars(tensors), metadata: [:], path: "spo.safetensors")
        let stack = try AdapterStack([AdapterStack.Item(file)], for: ["unet": unet])
        #expect(stack.unmatchedKeys.isEmpty)
        return stack.changedNames("unet")
    }

    /// SPO's LoRA for SD1.5: rank 4 on every attention projection of the UNet, 797,184 parameters.
    @Test(arguments: ["kohya", "diffusers", "PEFT"])
    func spoForSD15(form: String) throws {
        let unet = try ShapesOnly(manifest: "names/sd15.json")
        let layers = projections(unet)
        var tensors: [String: Shape] = [:]
        for (path, shape) in layers {
            let (down, up) = names(path, form)
            tensors[down] = [4, shape[1]]
            tensors[up] = [shape[0], 4]
        }
        #expect(tensors.values.reduce(0) { $0 + $1.count } == 797_184)
        if form == "kohya" {
            for (path, _) in layers { tensors["lora_unet_\(path.replacing(".", with: "_")).alpha"] = [] }
        }
        #expect(try changed(tensors, unet) == Set(layers.map { "\($0.path).weight" }))
    }

    private func names(_ path: String, _ form: String) -> (down: String, up: String) {
        switch form {
        case "kohya":
            let layer = "lora_unet_\(path.replacing(".", with: "_"))"
            return ("\(layer).lora_down.weight", "\(layer).lora_up.weight")
        case "PEFT":
            return ("unet.\(path).lora_A.weight", "unet.\(path).lora_B.weight")
        default:
            let projection = Self.projections.first { path.hasSuffix(".\($0)") } ?? ""
            let end = projection.hasPrefix("to_out") ? "to_out" : projection
            let layer = "unet.\(path.dropLast(projection.count))processor.\(end)_lora"
            return ("\(layer).down.weight", "\(layer).up.weight")
        }
    }

    /// SPO's LoRA for SDXL: rank 64, the names of generative-models as kohya writes them.
    @Test func spoForSDXL() throws {
        struct Layer: Decodable {
            let name: String
            let columns: Int
            let rows: Int

            init(from decoder: any Decoder) throws {
                var container = try decoder.unkeyedContainer()
                name = try container.decode(String.self)
                columns = try container.decode(Int.self)
                rows = try container.decode(Int.self)
            }
        }
        let unet = try ShapesOnly(manifest: "names/sdxl.json")
        let layers = try Fixture.json("names/spo_sdxl.json", [Layer].self)
        var tensors: [String: Shape] = [:]
        for layer in layers {
            tensors["\(layer.name).lora_down.weight"] = [64, layer.columns]
            tensors["\(layer.name).lora_up.weight"] = [layer.rows, 64]
            tensors["\(layer.name).alpha"] = []
        }
        let expected = Set(projections(unet).map { "\($0.path).weight" })
        #expect(expected.count == 560)
        #expect(try changed(tensors, unet) == expected)
    }

    /// The LoRA that ships with the embedded model.
    @Test func thickOutlineFitsTheEmbeddedModel() throws {
        let file = try AdapterFile(TestPaths.embeddedModel.appending(path: "lora/thick_outline.safetensors").path)
        #expect(file.alias == "thick_outline")
        let folder = try ModelFolder(TestPaths.embeddedModel.path)
        let bases = try ["unet", "text_encoder", "text_encoder_2"].map { ($0, try folder.weights($0)) }
        let stack = try AdapterStack([AdapterStack.Item(file)], for: Dictionary(uniqueKeysWithValues: bases))
        #expect(stack.unmatchedKeys.isEmpty)
        #expect(stack.changedNames("unet").count == 56)
        #expect(stack.changedNames("text_encoder").isEmpty)
        let name = "mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight"
        let base = try folder.weights("unet")
        let merged = try stack.adapted(base, component: "unet")
        #expect(merged.info(name)?.dtype == .float16)
        let difference = relativeL2(try merged.tensor(name), try base.tensor(name))
        #expect(difference > 1e-3 && difference < 1)
    }

    /// The refiner has only the second text encoder; SD1.x files then mean that one.
    @Test(arguments: ["lora_te_", "lora_te2_", "text_encoder_2."])
    func theRefinersTextEncoderIsTheSecond(prefix: String) throws {
        let path = "text_model.encoder.layers.0.mlp.fc1"
        let text = ShapesOnly(["\(path).weight": [6, 4]])
        let layer = prefix + (prefix.hasSuffix("_") ? path.replacing(".", with: "_") : path)
        let file = try adapter(["\(layer).lora_down.weight": ramp([2, 4]), "\(layer).lora_up.weight": ramp([6, 2])])
        let stack = try AdapterStack([AdapterStack.Item(file)], for: ["text_encoder_2": text])
        #expect(stack.changedNames("text_encoder_2") == ["\(path).weight"])
    }

    /// Files and models may each have `text_model.` in their names or lack it.
    @Test(arguments: ["text_model.", ""], ["text_model.", ""])
    func textModelIsOptional(inFile: String, inModel: String) throws {
        let path = "encoder.layers.1.self_attn.q_proj"
        let text = MemoryWeights(["\(inModel)\(path).weight": ramp([4, 4])])
        let layer = "text_encoder.\(inFile)\(path)"
        let file = try adapter(["\(layer).lora_A.weight": ramp([1, 4]), "\(layer).lora_B.weight": ramp([4, 1])])
        let item = AdapterStack.Item(file, unetWeight: 0, textWeight: 2)
        let stack = try AdapterStack([item], for: ["text_encoder": text])
        #expect(stack.changedNames("text_encoder") == ["\(inModel)\(path).weight"])
        let merged = try stack.adapted(text, component: "text_encoder").tensor("\(inModel)\(path).weight").floats
        #expect(merged[0] == 0.5 + 2 * 0.5 * 0.5)
    }

    /// The oldest diffusers files and what PEFT itself saves do not say to which component a layer belongs.
    @Test(arguments: [
        ("mid_block.attentions.0.transformer_blocks.0.attn1.processor.to_out_lora.down.weight", "unet"),
        ("base_model.model.mid_block.attentions.0.transformer_blocks.0.attn1.to_out.0.lora_A.default.weight", "unet"),
        ("text_model.encoder.layers.0.self_attn.to_out_lora.down.weight", "text_encoder"),
        ("text_encoder.text_model.encoder.layers.0.self_attn.out_proj.lora_linear_layer.down.weight", "text_encoder"),
        ("base_model.model.text_model.encoder.layers.0.self_attn.out_proj.lora_A.weight", "text_encoder"),
    ])
    func findsLayersWithoutAComponent(down: String, component: String) throws {
        let unet = ShapesOnly(["mid_block.attentions.0.transformer_blocks.0.attn1.to_out.0.weight": [4, 4]])
        let text = ShapesOnly(["text_model.encoder.layers.0.self_attn.out_proj.weight": [4, 4]])
        let up = down.replacing(".down.", with: ".up.").replacing("lora_A", with: "lora_B")
        let file = try adapter([down: ramp([2, 4]), up: ramp([4, 2])])
        let stack = try AdapterStack([AdapterStack.Item(file)], for: ["unet": unet, "text_encoder": text])
        #expect(stack.changedNames(component).count == 1)
        #expect(stack.unmatchedKeys.isEmpty)
    }

    /// Where a file has a layer under both names, diffusers' counts.
    @Test func diffusersNamesGoBeforeOriginalOnes() throws {
        let unet = MemoryWeights(["time_embedding.linear_1.weight": HostTensor([1, 1], [0] as [Float])])
        let value = { (number: Float) in HostTensor([1, 1], [number]) }
        let file = try adapter([
            "lora_unet_time_embed_0.lora_down.weight": value(1), "lora_unet_time_embed_0.lora_up.weight": value(7),
            "lora_unet_time_embedding_linear_1.lora_down.weight": value(1),
            "lora_unet_time_embedding_linear_1.lora_up.weight": value(3),
        ])
        let stack = try AdapterStack([AdapterStack.Item(file)], for: ["unet": unet])
        let merged = try stack.adapted(unet, component: "unet")
        #expect(try merged.tensor("time_embedding.linear_1.weight").floats == [3])
    }

    /// A plain PEFT folder keeps its scale in adapter_config.json.
    @Test func readsTheConfigBesideTheFile() throws {
        let folder = try TemporaryFolder()
        let layer = "base_model.model.conv_in"
        let tensors = ["\(layer).lora_A.weight": ramp([2, 3]), "\(layer).lora_B.weight": ramp([3, 2])]
        let path = folder.path("adapter_model.safetensors")
        try SafetensorsWriter.write(tensors.map { SafetensorsWriter.Tensor($0, $1) }, to: path)
        let base = MemoryWeights(["conv_in.weight": HostTensor([3, 3], [Float](repeating: 0, count: 9))])
        let merged = {
            let stack = try AdapterStack([AdapterStack.Item(AdapterFile(path))], for: ["unet": base])
            return try stack.adapted(base, component: "unet").tensor("conv_in.weight").floats
        }
        let plain = try merged()
        try folder.write("adapter_config.json", #"{"peft_type": "LORA", "r": 2, "lora_alpha": 6}"#)
        #expect(try merged() == plain.map { 3 * $0 })
    }
}

/// Shapes of an adapter whose scalars, which are read when it is opened, are all 4.
private final class ShapesWithScalars: WeightSource {
    private let shapes: ShapesOnly

    init(_ shapes: [String: Shape]) { self.shapes = ShapesOnly(shapes) }

    var names: [String] { shapes.names }

    func info(_ name: String) -> WeightInfo? { shapes.info(name) }

    func withBytes<Result>(_ name: String, _ body: (UnsafeRawBufferPointer) throws -> Result) throws -> Result {
        guard name.hasSuffix(".alpha") else { return try shapes.withBytes(name, body) }
        return try ElementCoding.encoded([4], as: .float16).withUnsafeBytes(body)
    }
}
