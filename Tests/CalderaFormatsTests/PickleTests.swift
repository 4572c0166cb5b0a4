import CalderaFormats
import CalderaGraph
import CalderaTestSupport
import Foundation
import Testing

@Suite struct PickleTests {
    private static let good = [
        "views.pt", "types.pth", "module.bin", "parameters.bin", "lightning.ckpt", "wrapped.pt", "averaged.pth",
        "protocol3.ckpt", "protocol4.ckpt", "protocol5.ckpt", "big_endian.pt", "wide.pt",
    ]

    @Test(arguments: good)
    func readsWhatTorchWrites(name: String) throws {
        let facts = try #require(try PickleFixtures.facts()[name])
        let file = try PickleFile(PickleFixtures.path("good/\(name)"))
        let expected = try SafetensorsFile(PickleFixtures.path("good/\(name).safetensors"))
        #expect(file.wrappers == facts.wrappers)
        #expect(file.integers == facts.integers)
        #expect(file.names == facts.tensors.keys.sorted())
        #expect(file.names.filter { file.info($0) != nil } == expected.names)
        for (name, tensor) in file.tensors {
            let found = PickleFixtures.Tensor(type: tensor.type.storedType, shape: tensor.shape.extents)
            #expect(found == facts.tensors[name], "\(name)")
        }
        for name in expected.names {
            #expect(file.info(name) == expected.info(name), "\(name)")
            #expect(try file.withBytes(name, Array.init) == expected.withBytes(name, Array.init), "\(name)")
        }
    }

    @Test func everyGoodFileIsTested() throws {
        #expect(try PickleFixtures.facts().keys.sorted() == Self.good.sorted())
    }

    @Test func readsScalars() throws {
        let file = try PickleFile(PickleFixtures.path("good/lightning.ckpt"))
        #expect(file.integers["global_step"] == 875_000)
        #expect(file.integers["negative"] == -(1 << 40))
        #expect(file.strings["pytorch-lightning_version"] == "1.4.2")
    }

    @Test func otherTypesAreListedButNotLent() throws {
        let file = try PickleFile(PickleFixtures.path("good/types.pth"))
        #expect(file.info("int64") == nil)
        let stored = #expect(throws: CalderaError.self) { try file.withBytes("int64") { $0.count } }
        #expect(stored?.message.contains("stored as I64") == true)
        let absent = #expect(throws: CalderaError.self) { try file.withBytes("none") { $0.count } }
        #expect(absent?.message.contains("no tensor none") == true)
    }

    @Test(arguments: try PickleFixtures.bad())
    func refusesWhatLies(bad: PickleFixtures.Bad) throws {
        let folder = try TemporaryFolder()
        let path = try folder.write("bad.ckpt", bad.file)
        let error = #expect(throws: CalderaError.self) { try PickleFixtures.readAll(path) }
        #expect(error?.message.contains(bad.words) == true, "\(error?.message ?? "")")
        #expect(error?.message.contains(path) == true)
        #expect(error?.message.unicodeScalars.allSatisfy { $0.value >= 0x20 } == true)
    }

    @Test func namesTheForbiddenAndTheRemedy() throws {
        let bad = try #require(try PickleFixtures.bad().first { $0.name == "os.system" })
        let folder = try TemporaryFolder()
        let path = try folder.write("bad.ckpt", bad.file)
        let error = #expect(throws: CalderaError.self) { try WeightFile.open(path) }
        #expect(
            error?.message == "\(path) asks to call os.system, which tensors never need: this file may be malicious; "
                + "get the weights as safetensors from a source that you trust.")
    }

    /// Small files that would become large in memory.
    @Test(arguments: [
        (start: "", repeated: "]", count: 1 << 20, words: "too many values at once"),
        (start: "}", repeated: "\u{94}", count: 1 << 20, words: "too many values to remember"),
        (start: "}", repeated: "q\0", count: 4 << 20, words: "more than 4194304 instructions"),
        // The function and its arguments are remembered as 1 and 2.
        (start: "", repeated: "h\u{1}h\u{2}R", count: 1 << 18, words: "too many tensors"),
    ])
    func memoryIsBounded(start: String, repeated: String, count: Int, words: String) throws {
        func bytes(_ text: String) -> [UInt8] { text.unicodeScalars.map { UInt8(truncatingIfNeeded: $0.value) } }
        var pickle: [UInt8] = [0x80, 2] + bytes(start)
        if start.isEmpty { pickle += bytes(Self.rememberedTensor) }
        for _ in 0...count { pickle += bytes(repeated) }
        let folder = try TemporaryFolder()
        let path = try folder.write("x.pt", StoredArchive.build(["a/data.pkl": pickle + bytes(".")]))
        let error = #expect(throws: CalderaError.self) { try PickleFile(path) }
        #expect(error?.message.contains(words) == true, "\(error?.message ?? "")")
    }

    private static let rememberedTensor =
        "ctorch._utils\n_rebuild_tensor_v2\nq\u{1}((\u{8C}\u{7}storagectorch\nFloatStorage\n\u{8C}\u{1}0\u{8C}\u{3}cpu"
        + "K\u{1}tQK\0)))Ntq\u{2}"
}

@Suite struct WeightFileTests {
    @Test func decidesByTheContents() throws {
        let folder = try TemporaryFolder()
        let pickle = try Data(contentsOf: URL(fileURLWithPath: PickleFixtures.path("good/wrapped.pt")))
        let plain = try Data(contentsOf: URL(fileURLWithPath: PickleFixtures.path("good/wrapped.pt.safetensors")))
        let first = try WeightFile.open(folder.write("a.safetensors", pickle))
        let second = try WeightFile.open(folder.write("b.ckpt", plain))
        #expect(first is PickleFile)
        #expect(second is SafetensorsFile)
        #expect(first.names == second.names)
    }

    @Test func shardsMayBePickles() throws {
        let folder = try TemporaryFolder()
        for name in ["wrapped.pt", "module.bin"] {
            let data = try Data(contentsOf: URL(fileURLWithPath: PickleFixtures.path("good/\(name)")))
            try folder.write(name, data)
        }
        let map = #"{"weight_map":{"b":"wrapped.pt","0.weight":"module.bin","2.num_batches_tracked":"module.bin"}}"#
        let weights = try ShardedWeights(index: folder.write("pytorch_model.bin.index.json", map))
        #expect(weights.names == ["0.weight", "2.num_batches_tracked", "b"])
        #expect(weights.info("0.weight") == WeightInfo(dtype: .float32, shape: [3, 2, 3, 3]))
        #expect(weights.info("2.num_batches_tracked") == nil)
        #expect(try weights.withBytes("b") { $0.loadUnaligned(as: Float.self) } == -0.625)
    }
}

/// Whatever the bytes, the result is a value or a `CalderaError`, soon and in little memory.
@Suite struct PickleFuzzTests {
    private static let files = ["good/views.pt", "good/lightning.ckpt", "good/protocol4.ckpt", "good/big_endian.pt"]

    /// True when the file was accepted; any error but `CalderaError` fails the test.
    private func isAccepted(_ bytes: [UInt8], _ folder: TemporaryFolder) throws -> Bool {
        let path = try folder.write("x.ckpt", Data(bytes))
        do {
            try PickleFixtures.readAll(path)
            return true
        } catch is CalderaError {
            return false
        }
    }

    @Test(arguments: files + ["embeddings/webui.pt"])
    func truncatedFilesAreRefused(name: String) throws {
        let folder = try TemporaryFolder()
        let whole = Array(try Data(contentsOf: URL(fileURLWithPath: PickleFixtures.path(name))))
        for count in Array(stride(from: 0, to: whole.count, by: 64)) + [whole.count - 1] {
            #expect(try !isAccepted(Array(whole[..<count]), folder), "\(count) bytes")
        }
    }

    @Test(arguments: files)
    func flippedBytesAnywhere(name: String) throws {
        var numbers = SeededNumbers(seed: 7)
        let folder = try TemporaryFolder()
        let whole = Array(try Data(contentsOf: URL(fileURLWithPath: PickleFixtures.path(name))))
        var accepted = 0
        for _ in 0..<600 {
            var bytes = whole
            for _ in 0..<Int.random(in: 1...3, using: &numbers) {
                bytes[Int.random(in: bytes.indices, using: &numbers)] = UInt8.random(in: 0...255, using: &numbers)
            }
            if try isAccepted(bytes, folder) { accepted += 1 }
        }
        // Those that hit padding or a tensor's numbers.
        #expect(accepted > 0 && accepted < 600)
    }

    @Test(arguments: files)
    func flippedBytesOfThePickle(name: String) throws {
        var numbers = SeededNumbers(seed: 11)
        let folder = try TemporaryFolder()
        let whole = try PatchablePickle(PickleFixtures.path(name))
        #expect(try isAccepted(whole.bytes, folder))
        var accepted = 0
        for _ in 0..<1500 {
            var changed = whole
            for _ in 0..<Int.random(in: 1...2, using: &numbers) {
                let index = Int.random(in: 0..<whole.range.count, using: &numbers)
                changed.set(index, UInt8.random(in: 0...255, using: &numbers))
            }
            if try isAccepted(changed.bytes, folder) { accepted += 1 }
        }
        #expect(accepted > 0 && accepted < 1500)
    }

    /// A byte that differs from the checksum's is found even where the pickle would still be a good one.
    @Test func everyByteOfThePickleIsChecked() throws {
        let folder = try TemporaryFolder()
        let whole = try PatchablePickle(PickleFixtures.path("good/wrapped.pt"))
        for index in stride(from: 0, to: whole.range.count, by: 7) {
            var bytes = whole.bytes
            bytes[whole.range.lowerBound + index] ^= 0x20
            #expect(try !isAccepted(bytes, folder))
        }
    }
}
