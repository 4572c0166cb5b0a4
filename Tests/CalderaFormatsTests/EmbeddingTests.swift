import CalderaFormats
import CalderaGraph
import CalderaTestSupport
import Foundation
import Testing

@Suite struct EmbeddingFileTests {
    private func embedding(_ name: String) throws -> EmbeddingFile {
        try EmbeddingFile(PickleFixtures.path("embeddings/\(name)"))
    }

    /// The formula of the fixtures: exact in every type.
    private static func vectors(_ count: Int, _ width: Int) -> HostTensor {
        HostTensor([count, width], (0..<(count * width)).map { (Float($0) - 5) / 8 })
    }

    @Test(
        arguments: [
            ("webui.pt", "webui", "inner-name", 3), ("webui_module.pt", "webui_module", nil, 3),
            ("webui_old_module.pt", "webui_old_module", nil, 3), ("diffusers.bin", "<cat-toy>", nil, 1),
            ("diffusers.safetensors", "<cat-toy>", nil, 3), ("bare.safetensors", "bare", nil, 3),
        ] as [(String, String, String?, Int)])
    func readsEveryForm(file: String, name: String, storedName: String?, count: Int) throws {
        let embedding = try embedding(file)
        #expect(embedding.name == name)
        #expect(embedding.storedName == storedName)
        #expect(embedding.vectors == [8: Self.vectors(count, 8)])
    }

    @Test(arguments: ["sdxl.safetensors", "sdxl.pt"])
    func readsBothEncoders(file: String) throws {
        let embedding = try embedding(file)
        #expect(embedding.name == "sdxl")
        #expect(try embedding.vectors(forWidth: 8, encoderName: "text_encoder") == Self.vectors(2, 8))
        #expect(try embedding.vectors(forWidth: 12, encoderName: "text_encoder_2") == Self.vectors(2, 12))
        let error = #expect(throws: CalderaError.self) {
            try embedding.vectors(forWidth: 1024, encoderName: "text_encoder")
        }
        #expect(
            error?.message == "The embedding \(embedding.path) has vectors of width 8 and 12, but text_encoder takes "
                + "width 1024: it was made for another base model.")
    }

    @Test(arguments: [
        ("embeddings/no_embedding.safetensors", "holds 2 (a, b)"), ("embeddings/not_finite.safetensors", "not finite"),
        ("embeddings/none.pt", "There is no file"), ("good/module.bin", "is no textual-inversion embedding"),
    ])
    func refusesOtherFiles(file: String, words: String) throws {
        let path = PickleFixtures.path(file)
        let error = #expect(throws: CalderaError.self) { try EmbeddingFile(path) }
        #expect(error?.message.contains(words) == true, "\(error?.message ?? "")")
        #expect(error?.message.contains(path) == true)
    }

    @Test(arguments: [[], [2, 2, 2], [0, 4], [1025, 1]])
    func refusesOtherShapes(extents: [Int]) throws {
        let folder = try TemporaryFolder()
        let path = folder.path("x.safetensors")
        let values = [Float](repeating: 1, count: extents.reduce(1, *))
        try SafetensorsWriter.write([.init("emb_params", HostTensor(Shape(extents), values))], to: path)
        let error = #expect(throws: CalderaError.self) { try EmbeddingFile(path) }
        #expect(error?.message.contains("is no textual-inversion embedding") == true)
    }

    @Test func refusesIntegersAndTwins() throws {
        let folder = try TemporaryFolder()
        let ids = folder.path("ids.safetensors")
        try SafetensorsWriter.write([.init("emb_params", HostTensor([1, 2], [Int32(1), 2]))], to: ids)
        #expect(throws: CalderaError.self) { try EmbeddingFile(ids) }
        let twins = folder.path("twins.safetensors")
        let vector = HostTensor([1, 2], [Float(1), 2])
        try SafetensorsWriter.write([.init("clip_l", vector), .init("clip_g", vector)], to: twins)
        let error = #expect(throws: CalderaError.self) { try EmbeddingFile(twins) }
        #expect(error?.message.contains("two embeddings of width 2") == true)
    }
}

@Suite struct ExtendedEmbeddingsTests {
    private static let name = "text_model.embeddings.token_embedding.weight"

    private func floats(_ source: any WeightSource, _ name: String) throws -> [Double] {
        let dtype = try #require(source.info(name)).dtype
        return try source.withBytes(name) { ElementCoding.decoded($0, as: dtype) }
    }

    @Test(arguments: [DType.float32, .float16, .bfloat16])
    func appendsRows(dtype: DType) throws {
        let table = HostTensor([3, 2], [1, 2, 3, 4, 5, 6] as [Float])
        let other = HostTensor([2], [7, 8] as [Float])
        let base = MemoryWeights([Self.name: table, "text_model.final_layer_norm.weight": other], dtype: dtype)
        // Neither number is one of fp16 or bf16.
        let added = [HostTensor([1, 2], [0.1, 0.2] as [Float]), HostTensor([2, 2], [9, 10, 11, 1e9] as [Float])]
        let source = try ExtendedEmbeddings(base, vectors: added)
        #expect(source.firstToken == 3)
        #expect(source.names == base.names)
        #expect(source.info(Self.name) == WeightInfo(dtype: .float32, shape: [6, 2]))
        let expected: [Float] = [1, 2, 3, 4, 5, 6, 0.1, 0.2, 9, 10, 11, 1e9]
        #expect(try floats(source, Self.name) == expected.map(Double.init))
        #expect(source.info("text_model.final_layer_norm.weight") == WeightInfo(dtype: dtype, shape: [2]))
        #expect(try floats(source, "text_model.final_layer_norm.weight") == [7, 8])
        #expect(source.info("none") == nil)
    }

    @Test(arguments: [
        "token_embedding.weight", "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight",
    ])
    func takesAnyPrefix(name: String) throws {
        let base = MemoryWeights([name: HostTensor([2, 1], [1, 2] as [Float])])
        let source = try ExtendedEmbeddings(base, vectors: [HostTensor([1, 1], [3] as [Float])])
        #expect(try floats(source, name) == [1, 2, 3])
    }

    @Test func refusesWhatDoesNotFit() throws {
        let table = HostTensor([3, 2], [1, 2, 3, 4, 5, 6] as [Float])
        let base = MemoryWeights([Self.name: table])
        let error = #expect(throws: CalderaError.self) {
            try ExtendedEmbeddings(base, vectors: [HostTensor([1, 3], [1, 2, 3] as [Float])])
        }
        #expect(error?.message == "Vectors [1, 3] cannot be appended to \(Self.name) [3, 2].")
        #expect(throws: CalderaError.self) {
            try ExtendedEmbeddings(base, vectors: [HostTensor([2], [1, 2] as [Float])])
        }
        let none = MemoryWeights(["my_token_embedding.weight": table])
        #expect(throws: CalderaError.self) { try ExtendedEmbeddings(none, vectors: []) }
        let two = MemoryWeights(["a.\(Self.name)": table, "b.\(Self.name)": table])
        #expect(throws: CalderaError.self) { try ExtendedEmbeddings(two, vectors: []) }
    }
}
