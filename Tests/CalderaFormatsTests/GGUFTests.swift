import CalderaFormats
import CalderaGraph
import CalderaTestSupport
import Foundation
import Testing

/// GGUF files as PyPI's `gguf` writes them (`Tools/goldens/gguf_files.py`), and damaged ones.
@Suite struct GGUFTests {
    private func fixture(_ name: String) -> URL { TestPaths.fixture("gguf/\(name)", of: "CalderaFormatsTests") }

    @Test func everyElementTypeIsUnpackedAsTheReferenceDoes() throws {
        let file = try GGUFFile(fixture("blocks.gguf").path)
        let golden = try GoldenFile(fixture("blocks.safetensors"))
        #expect(file.names == golden.names() && file.names.count == 11)
        for name in file.names {
            let wanted = try golden.tensor(name)
            #expect(file.shape(name) == wanted.shape)
            let error = relativeL2(HostTensor(wanted.shape, try file.floats(name)), wanted)
            #expect(error <= 1e-7, "\(name): relative error \(error)")
        }
    }

    /// Query and key rows are put back in transformers' order; matrices of the fixture are fp16, but for the MLP's.
    @Test func aModelHasTheNamesAndRowsOfTransformers() throws {
        struct Description: Decodable {
            let shapes: [String: [Int]]
        }
        let model = try GGUFModel(fixture("model.gguf").path)
        let description = try JSONDecoder().decode(Description.self, from: Data(contentsOf: fixture("model.json")))
        let wanted = DeterministicWeights(description.shapes.mapValues { Shape($0) })
        #expect(model.weights.names == wanted.names.sorted())
        for name in wanted.names {
            let info = try #require(model.weights.info(name))
            #expect(info.shape == wanted.info(name)?.shape)
            let values = try wanted.values(name)
            let rounded = info.dtype == .float16 ? values.map { Float(Float16($0)) } : values
            #expect(try model.weights.floats(name) == rounded, "\(name)")
        }
        #expect(try model.config.int("num_key_value_heads") == 2)
        #expect(try model.config.bool("tie_word_embeddings") == false)
    }

    /// A tensor that is read again and again is the same each time.
    @Test func aReleasedTensorMayBeReadAgain() throws {
        let weights = try GGUFModel(fixture("model.gguf").path).weights
        let name = "model.layers.0.self_attn.q_proj.weight"
        let first = try weights.floats(name)
        for _ in 0..<3 {
            weights.release(name)
            #expect(try weights.floats(name) == first)
        }
    }

    // MARK: Damage

    private func message(_ bytes: [UInt8]) throws -> String {
        let folder = try TemporaryFolder()
        let path = try folder.write("bad.gguf", Data(bytes))
        do {
            _ = try GGUFModel(path)
            return ""
        } catch {
            return "\(error)"
        }
    }

    @Test func aFileCutAnywhereIsRefused() throws {
        let bytes = [UInt8](try Data(contentsOf: fixture("model.gguf")))
        for count in [0, 3, 4, 8, 20, 24, 31, 100, 500, 4000, 9000, 20_000, bytes.count / 2, bytes.count - 1] {
            #expect(try message(Array(bytes.prefix(count))) != "", "\(count) bytes")
        }
    }

    /// Each byte of the header's first part, set to several values: an error or a model, never a crash.
    @Test func flippedBytesAreSurvived() throws {
        let bytes = [UInt8](try Data(contentsOf: fixture("blocks.gguf")))
        for place in 4..<700 {
            for value in [0, 0x7f, 0xff] as [UInt8] {
                var damaged = bytes
                damaged[place] = value
                _ = try message(damaged)
            }
        }
    }

    @Test func lengthsThatNoFileHasAreRefused() throws {
        #expect(try message(header(tensors: .max, values: 0)).contains("cut short"))
        #expect(try message(header(tensors: 0, values: .max)).contains("cut short"))
        #expect(try message(header(tensors: 0, values: 1) + word(UInt64.max)).contains("cut short"))
        let manyStrings = text("list") + word(UInt32(9)) + word(UInt32(8)) + word(UInt64(1) << 60)
        #expect(try message(header(tensors: 0, values: 1) + manyStrings).contains("cut short"))
        let nested = text("list") + word(UInt32(9)) + (0..<9).flatMap { _ in word(UInt32(9)) + word(UInt64(1)) }
        #expect(try message(header(tensors: 0, values: 1) + nested).contains("nested"))
        let unknown = text("key") + word(UInt32(77))
        #expect(try message(header(tensors: 0, values: 1) + unknown).contains("unknown type 77"))
    }

    @Test func tensorsThatCannotBeAreRefused() throws {
        func tensor(_ extents: [UInt64], type: UInt32 = 0, offset: UInt64 = 0) -> [UInt8] {
            let shape = word(UInt32(extents.count)) + extents.flatMap { word($0) }
            return header(tensors: 1, values: 0) + text("t") + shape + word(type) + word(offset)
                + [UInt8](repeating: 0, count: 256)
        }
        #expect(try message(tensor([.max])).contains("cut short"))
        #expect(try message(tensor([1 << 40, 1 << 40])).contains("cannot be"))
        #expect(try message(tensor([1 << 40])).contains("behind its end"))
        #expect(try message(tensor([4], offset: 1 << 62)).contains("behind its end"))
        #expect(try message(tensor([4], offset: 7)).contains("odd place"))
        #expect(try message(tensor([33], type: 8)).contains("cannot be"))
        #expect(try message(tensor([32], type: 10)).contains("Q2_K"))
        #expect(try message(tensor([1, 1, 1, 1, 1])).contains("5 dimensions"))
    }

    @Test func otherFilesAreNamed() throws {
        #expect(
            try message(Array("GGUF".utf8) + word(UInt32(1)) + word(UInt64(0)) + word(UInt64(0))).contains("version 1"))
        let swapped = Array("GGUF".utf8) + word(UInt32(3).byteSwapped) + word(UInt64(0)) + word(UInt64(0))
        #expect(try message(swapped).contains("big-endian"))
        #expect(try message(Array("GGML".utf8)).contains("not a GGUF file"))
        #expect(try message(header(tensors: 0, values: 0)).contains("general.architecture"))
        let other = text("general.architecture") + word(UInt32(8)) + text("qwen2")
        #expect(try message(header(tensors: 0, values: 1) + other).contains("qwen2"))
    }

    private func header(tensors: UInt64, values: UInt64) -> [UInt8] {
        Array("GGUF".utf8) + word(UInt32(3)) + word(tensors) + word(values)
    }

    private func text(_ string: String) -> [UInt8] { word(UInt64(string.utf8.count)) + Array(string.utf8) }

    private func word<Number: FixedWidthInteger>(_ number: Number) -> [UInt8] {
        withUnsafeBytes(of: number.littleEndian) { Array($0) }
    }
}
