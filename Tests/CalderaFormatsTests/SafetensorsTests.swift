import CalderaFormats
import CalderaGraph
import CalderaTestSupport
import Foundation
import Testing

/// A file with this header text, `dataCount` bytes of data, and optionally another length than the header's own.
func safetensors(_ header: String, dataCount: Int = 0, length: UInt64? = nil) -> Data {
    var data = Data()
    withUnsafeBytes(of: (length ?? UInt64(header.utf8.count)).littleEndian) { data.append(contentsOf: $0) }
    data.append(contentsOf: header.utf8)
    data.append(Data(count: dataCount))
    return data
}

@Suite struct SafetensorsTests {
    private static func entry(_ name: String, _ type: String, _ shape: String, _ begin: Int, _ end: Int) -> String {
        "\"\(name)\":{\"dtype\":\"\(type)\",\"shape\":\(shape),\"data_offsets\":[\(begin),\(end)]}"
    }

    @Test func roundTrip() throws {
        let folder = try TemporaryFolder()
        let path = folder.path("x.safetensors")
        let half = try SafetensorsWriter.Tensor("half", dtype: .float16, shape: [3], bytes: [1, 2, 3, 4, 5, 6])
        let latents = SafetensorsWriter.Tensor("latents", HostTensor([2, 2], [1, -2, 0.5, .pi]))
        let ids = SafetensorsWriter.Tensor("ids", HostTensor([], [Int32(-7)]))
        let empty = SafetensorsWriter.Tensor("é \"/\\", HostTensor([0, 4], [Float]()))
        try SafetensorsWriter.write([half, latents, ids, empty], metadata: ["format": "pt"], to: path)
        let file = try SafetensorsFile(path)
        #expect(file.metadata == ["format": "pt"])
        #expect(file.names == ["half", "ids", "latents", "é \"/\\"])
        #expect(file.info("latents") == WeightInfo(dtype: .float32, shape: [2, 2]))
        #expect(file.info("é \"/\\")?.shape == [0, 4])
        let floats = try file.withBytes("latents") { Array($0.bindMemory(to: Float.self)) }
        #expect(floats == [1, -2, 0.5, .pi])
        #expect(try file.withBytes("ids") { $0.loadUnaligned(as: Int32.self) } == -7)
        #expect(try file.withBytes("half") { Array($0) } == [1, 2, 3, 4, 5, 6])
        #expect(try folder.contents() == ["x.safetensors"])
    }

    @Test func embeddedModelOpens() throws {
        let unet = TestPaths.embeddedModel.appendingPathComponent("unet/diffusion_pytorch_model.safetensors")
        let file = try SafetensorsFile(unet.path)
        #expect(file.info("conv_in.weight") == WeightInfo(dtype: .float16, shape: [64, 4, 3, 3]))
        #expect(try file.withBytes("conv_in.weight") { $0.count } == 64 * 4 * 3 * 3 * 2)
    }

    @Test(arguments: [
        ("{}", 0), ("  {}  ", 0),
        ("{\(entry("", "F32", "[]", 0, 4))}", 4),
        ("{\(entry("zero", "F32", "[0,9]", 0, 0))}", 0),
        ("{\(entry("b", "U8", "[2]", 4, 6)),\(entry("a", "F32", "[1]", 0, 4))}", 6),
        (
            "{\"__metadata__\":{\"a\":\"b\"},\"x\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1],\"more\":[{}]}}",
            1
        ),
    ])
    func acceptsWhatTheFormatAllows(header: String, dataCount: Int) throws {
        let folder = try TemporaryFolder()
        let path = try folder.write("x", safetensors(header, dataCount: dataCount))
        #expect(throws: Never.self) { try SafetensorsFile(path) }
    }

    @Test(arguments: [
        ("{\(entry("x", "F32", "[1]", 1, 5))}", 5, "hole"),
        ("{\(entry("a", "F32", "[1]", 0, 4)),\(entry("b", "F32", "[1]", 2, 6))}", 6, "overlaps"),
        ("{\(entry("a", "F32", "[1]", 0, 4)),\(entry("b", "F32", "[1]", 6, 10))}", 10, "hole"),
        ("{\(entry("x", "F32", "[2]", 0, 4))}", 4, "does not fill"),
        ("{\(entry("x", "F32", "[1]", 4, 0))}", 4, "impossible offsets"),
        ("{\(entry("x", "F32", "[1]", -4, 0))}", 4, "impossible offsets"),
        ("{\(entry("x", "F32", "[-1]", 0, 4))}", 4, "impossible shape"),
        ("{\(entry("x", "F32", "[4294967296,4294967296]", 0, 4))}", 4, "impossible shape"),
        ("{\(entry("x", "F32", "[4611686018427387904]", 0, 4))}", 4, "does not fill"),
        ("{\(entry("x", "F32", "[1.5]", 0, 4))}", 4, "not safetensors'"),
        ("{\(entry("x", "F32", "[true]", 0, 4))}", 4, "x shape"),
        ("{\(entry("x", "F33", "[1]", 0, 4))}", 4, "unknown type F33"),
        ("{\(entry("x", "F32", "[1]", 0, 4))}", 5, "belong to no tensor"),
        ("{\(entry("x", "F32", "[2]", 0, 8))}", 4, "cut short (4 bytes are missing)"),
        ("{\(entry("x", "F32", "[1]", 0, 4)),\(entry("x", "F32", "[1]", 0, 4))}", 4, "twice"),
        ("{\"x\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "data_offsets"),
        ("{\"__metadata__\":{\"a\":1}}", 0, "__metadata__"),
        ("{\"x\":", 0, "not safetensors'"), ("[]", 0, "not JSON"), ("", 0, "not JSON"), ("{\u{0}}", 0, "not JSON"),
        (String(repeating: "{\"a\":", count: 100_000), 0, "not safetensors'"),
        ("{\"a\":" + String(repeating: "[", count: 1_000_000), 0, "not safetensors'"),
    ])
    func refusesWhatLies(header: String, dataCount: Int, message: String) throws {
        let folder = try TemporaryFolder()
        let path = try folder.write("bad.safetensors", safetensors(header, dataCount: dataCount))
        let error = #expect(throws: CalderaError.self) { try SafetensorsFile(path) }
        #expect(error?.message.contains(message) == true, "\(error?.message ?? "")")
        #expect(error?.message.contains(path) == true)
    }

    @Test(arguments: [
        (safetensors("{}", length: .max), "claims 18446744073709551615 bytes"),
        (safetensors("{}", length: 100_000_001), "claims"), (safetensors("{}", length: 100), "cut short inside"),
        (Data(), "cut short"), (Data([1, 2, 3]), "cut short (3 bytes)"),
        (safetensors("{}", length: 4) + Data([0xFF, 0xFE]), "not JSON"),
    ])
    func refusesLengthsThatLie(data: Data, message: String) throws {
        let folder = try TemporaryFolder()
        let path = try folder.write("bad.safetensors", data)
        let error = #expect(throws: CalderaError.self) { try SafetensorsFile(path) }
        #expect(error?.message.contains(message) == true, "\(error?.message ?? "")")
    }

    @Test func otherTypesAreListedButNotLent() throws {
        let folder = try TemporaryFolder()
        let header = "{\(Self.entry("ids", "I64", "[2]", 0, 16))}"
        let file = try SafetensorsFile(try folder.write("x", safetensors(header, dataCount: 16)))
        #expect(file.names == ["ids"])
        #expect(file.tensors["ids"]?.storedType == "I64")
        #expect(file.info("ids") == nil)
        let stored = #expect(throws: CalderaError.self) { try file.withBytes("ids") { $0.count } }
        #expect(stored?.message.contains("stored as I64") == true)
        let absent = #expect(throws: CalderaError.self) { try file.withBytes("none") { $0.count } }
        #expect(absent?.message.contains("no tensor none") == true)
    }

    @Test func missingFilesAndFolders() throws {
        let folder = try TemporaryFolder()
        let missing = #expect(throws: CalderaError.self) { try SafetensorsFile(folder.path("none")) }
        #expect(missing?.message == "There is no file \(folder.path("none")).")
        #expect(throws: CalderaError.self) { try SafetensorsFile(folder.url.path) }
    }

    @Test func twoTensorsOfOneNameAreNotWritten() throws {
        let folder = try TemporaryFolder()
        let tensor = SafetensorsWriter.Tensor("x", HostTensor([1], [Float(1)]))
        #expect(throws: CalderaError.self) { try SafetensorsWriter.write([tensor, tensor], to: folder.path("x")) }
        #expect(throws: CalderaError.self) {
            try SafetensorsWriter.Tensor("x", dtype: .float32, shape: [2], bytes: [0, 0, 0, 0])
        }
        #expect(try folder.contents().isEmpty)
    }
}

@Suite struct ShardedWeightsTests {
    private func shards() throws -> TemporaryFolder {
        let folder = try TemporaryFolder()
        for (file, name, value) in [("a.safetensors", "x", Float(1)), ("b.safetensors", "y", Float(2))] {
            let tensor = SafetensorsWriter.Tensor(name, HostTensor([1], [value]))
            try SafetensorsWriter.write([tensor], to: folder.path(file))
        }
        return folder
    }

    @Test func joinsShards() throws {
        let folder = try shards()
        let index = try folder.write("i.json", #"{"weight_map":{"x":"a.safetensors","y":"b.safetensors"}}"#)
        let weights = try ShardedWeights(index: index)
        #expect(weights.names == ["x", "y"])
        #expect(try weights.withBytes("y") { $0.loadUnaligned(as: Float.self) } == 2)
        #expect(weights.info("z") == nil)
    }

    @Test(arguments: [
        (#"{"weight_map":{"x":"c.safetensors","y":"d.safetensors"}}"#, "c.safetensors, d.safetensors"),
        (#"{"weight_map":{"p":"a.safetensors","q":"b.safetensors"}}"#, "p (in a.safetensors), q (in b.safetensors)"),
        (#"{"weight_map":{"x":"../a.safetensors"}}"#, "beside the index"),
        (#"{"weight_map":{"x":3}}"#, "should be a string"), (#"{}"#, "weight_map"), ("[", "not valid JSON"),
    ])
    func listsAllThatIsMissing(text: String, message: String) throws {
        let folder = try shards()
        let index = try folder.write("i.json", text)
        let error = #expect(throws: CalderaError.self) { try ShardedWeights(index: index) }
        #expect(error?.message.contains(message) == true, "\(error?.message ?? "")")
    }
}
