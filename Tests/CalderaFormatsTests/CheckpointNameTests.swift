import CalderaFormats
import CalderaGraph
import CalderaTestSupport
import Foundation
import Testing

/// Names, shapes and values of single-file checkpoints against diffusers' own converters.
@Suite struct CheckpointNameTests {
    private static let prefix = "model.diffusion_model."

    @Test(arguments: CheckpointFixture.all)
    func unetNamesGoBothWays(name: String) throws {
        let fixture = try CheckpointFixture.load(name)
        let originals = fixture.original.keys.filter { $0.hasPrefix(Self.prefix) }.map {
            $0.dropFirst(Self.prefix.count)
        }
        let there = UNetKeyMap(originalNames: originals.map(String.init))
        let back = UNetKeyMap(diffusersNames: fixture.unet.keys)
        let translated = originals.compactMap { there.diffusersName(String($0)) }
        #expect(Set(translated) == Set(fixture.unet.keys))
        #expect(translated.count == fixture.unet.count)
        for original in originals {
            let diffusers = try #require(there.diffusersName(String(original)))
            #expect(there.originalName(diffusers) == String(original))
            #expect(back.originalName(diffusers) == String(original))
            #expect(back.diffusersName(String(original)) == diffusers)
            // Modules: the name without .weight or .bias.
            let module = original[..<(original.lastIndex(of: ".") ?? original.endIndex)]
            let expected = diffusers[..<(diffusers.lastIndex(of: ".") ?? diffusers.endIndex)]
            #expect(back.diffusersName(String(module)) == String(expected))
            #expect(there.originalName(String(expected)) == String(module))
        }
    }

    @Test func unetNamesThatAreNone() {
        let map = UNetKeyMap(originalNames: ["input_blocks.3.0.op.weight", "input_blocks.8.0.in_layers.0.weight"])
        #expect(map.diffusersName("input_blocks.9.0.in_layers.0.weight") == nil)
        #expect(map.diffusersName("input_blocks") == nil)
        #expect(map.diffusersName("") == nil)
        #expect(map.originalName("down_blocks.3.resnets.0.conv1.weight") == nil)
        #expect(map.originalName("conv_in.weight") == "input_blocks.0.0.weight")
        let huge = UNetKeyMap(originalNames: ["input_blocks.999999999.0.op", "output_blocks.-1.0"])
        #expect(huge.diffusersName("input_blocks.999999999.0.op") == nil)
    }

    /// A LoRA names a few modules only; the layout is seen from them all the same.
    @Test func unetLayoutFromFewNames() {
        let map = UNetKeyMap(originalNames: [
            "input_blocks.7.1.proj_in", "output_blocks.2.2.conv", "output_blocks.5.1.proj_in",
        ])
        #expect(map.diffusersName("output_blocks.2.2.conv") == "up_blocks.0.upsamplers.0.conv")
        #expect(map.diffusersName("input_blocks.7.1.proj_in") == "down_blocks.2.attentions.0.proj_in")
        #expect(map.diffusersName("output_blocks.5.1.proj_in") == "up_blocks.1.attentions.2.proj_in")
    }

    @Test(arguments: CheckpointFixture.all)
    func trueSizeNamesAndShapes(name: String) throws {
        let fixture = try CheckpointFixture.load(name)
        let model = try SingleFileModel(fixture.header, path: name, tokenizers: TestPaths.embeddedModel)
        #expect(Set(model.components.keys).isSuperset(of: fixture.components.keys))
        for (component, expected) in fixture.components {
            let weights = try model.weights(component)
            #expect(weights.names == expected.keys.sorted(), "\(component)")
            for (tensor, row) in expected {
                #expect(weights.info(tensor) == WeightInfo(dtype: .float16, shape: row.shape), "\(tensor)")
            }
        }
    }

    @Test(arguments: CheckpointFixture.all)
    func narrowValues(name: String) throws {
        let checkpoint = try NarrowCheckpoint(name)
        for (component, expected) in checkpoint.fixture.components {
            let weights = try checkpoint.model.weights(component)
            for (tensor, row) in expected {
                #expect(try weights.withBytes(tensor, crc32) == row.checksum, "\(component) \(tensor)")
            }
        }
    }

    /// Files that name their parts in other ways hold the same weights.
    @Test func otherForms() throws {
        let narrow = try CheckpointFixture.load("sd1").narrow
        let bare = renaming(narrow) { $0.replacingOccurrences(of: ".transformer.text_model.", with: ".transformer.") }
        let short = renaming(narrow) { $0.replacingOccurrences(of: "first_stage_model.", with: "vae.") }
        for weights in [bare, short] {
            let checkpoint = try NarrowCheckpoint("sd1", weights: weights)
            for (component, expected) in checkpoint.fixture.components {
                let weights = try checkpoint.model.weights(component)
                #expect(weights.names == expected.keys.sorted())
                for (tensor, row) in expected { #expect(try weights.withBytes(tensor, crc32) == row.checksum) }
            }
        }
    }

    /// A bare autoencoder opens under original names, those of diffusers, and those of 2022.
    @Test func bareAutoencoders() throws {
        let fixture = try CheckpointFixture.load("sd1")
        let prefix = "first_stage_model."
        let file = DeterministicWeights(fixture.original.mapValues(\.narrow))
        let original = renaming(file) { $0.hasPrefix(prefix) ? String($0.dropFirst(prefix.count)) : "other.\($0)" }
        let vae = Set(fixture.vae.keys)
        let renamed = RenamedWeights.autoencoder(original)
        #expect(vae.isSubset(of: renamed.names))
        let old = renaming(renamed) { name in
            guard name.contains(".attentions.") else { return name }
            return [".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."]
                .reduce(name) { $0.replacingOccurrences(of: $1.key, with: $1.value) }
        }
        for weights in [renamed, RenamedWeights.autoencoder(old), RenamedWeights.autoencoder(renamed)] {
            for (tensor, row) in fixture.vae {
                #expect(try weights.withBytes(tensor, crc32) == row.checksum, "\(tensor)")
                #expect(weights.info(tensor)?.shape.rank == row.shape.rank, "\(tensor)")
            }
        }
    }

    @Test func piecesThatDoNotFit() throws {
        let base = MemoryWeights([
            "a": HostTensor([2, 3], [1.0, 2, 3, 4, 5, 6]), "b": HostTensor([1, 3], [7.0, 8, 9]),
            "c": HostTensor([2], [1.0, 2]),
        ])
        let weights = MappedWeights(
            base,
            [
                "transposed": .transposed("a"), "rows": .rows("a", 1..<2), "stacked": .stacked(["a", "b"]),
                "beyond": .rows("a", 1..<3), "unequal": .stacked(["a", "c"]), "vector": .transposed("c"),
                "reshaped": .reshaped("a", [6, 1]), "other": .reshaped("a", [7]), "absent": .tensor("x"),
            ])
        func values(_ name: String) throws -> [Float] {
            try weights.withBytes(name) { Array($0.bindMemory(to: Float.self)) }
        }
        #expect(try values("transposed") == [1, 4, 2, 5, 3, 6])
        #expect(weights.info("transposed")?.shape == [3, 2])
        #expect(try values("rows") == [4, 5, 6])
        #expect(try values("stacked") == [1, 2, 3, 4, 5, 6, 7, 8, 9])
        #expect(weights.info("stacked")?.shape == [3, 3])
        #expect(weights.info("reshaped")?.shape == [6, 1])
        for name in ["beyond", "unequal", "vector", "other", "absent", "unknown"] {
            #expect(weights.info(name) == nil)
            let error = #expect(throws: CalderaError.self) { try values(name) }
            #expect(error?.message.contains(name == "absent" ? "x" : name) == true, "\(error?.message ?? "")")
        }
    }
}

/// Another source's tensors under other names.
private func renaming(_ base: any WeightSource, _ rename: (String) -> String) -> MappedWeights {
    MappedWeights(base, Dictionary(uniqueKeysWithValues: base.names.map { (rename($0), .tensor($0)) }))
}
