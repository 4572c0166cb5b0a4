import CalderaFormats
import CalderaGraph
import CalderaTestSupport
import Foundation

/// What `Tools/goldens/checkpoints.py` wrote down of one architecture.
struct CheckpointFixture: Decodable {
    static let all = ["sd1", "sd2", "sdxl", "sdxl-refiner"]

    /// A tensor of the file: its shape at true size and with narrow layers.
    struct Original: Decodable {
        let shape: Shape
        let narrow: Shape

        init(from decoder: any Decoder) throws {
            var row = try decoder.unkeyedContainer()
            shape = Shape(try row.decode([Int].self))
            narrow = Shape(try row.decode([Int].self))
        }
    }

    /// A tensor of a component: its true shape, and the CRC-32 of the narrow one's bytes.
    struct Converted: Decodable {
        let shape: Shape
        let checksum: UInt32

        init(from decoder: any Decoder) throws {
            var row = try decoder.unkeyedContainer()
            shape = Shape(try row.decode([Int].self))
            checksum = try row.decode(UInt32.self)
        }
    }

    /// diffusers' name of the architecture.
    let type: String
    let original: [String: Original]
    let unet: [String: Converted]
    let vae: [String: Converted]
    let encoder: [String: Converted]?
    let encoder2: [String: Converted]?

    private enum CodingKeys: String, CodingKey {
        case type, original, unet, vae
        case encoder = "text_encoder"
        case encoder2 = "text_encoder_2"
    }

    static func load(_ name: String) throws -> CheckpointFixture {
        let url = TestPaths.fixture("checkpoints/\(name).json", of: "CalderaFormatsTests")
        return try JSONDecoder().decode(CheckpointFixture.self, from: Data(contentsOf: url))
    }

    var components: [String: [String: Converted]] {
        ["unet": unet, "vae": vae, "text_encoder": encoder, "text_encoder_2": encoder2].compactMapValues { $0 }
    }

    /// The names and shapes at true size, without values.
    var header: ShapesOnly { ShapesOnly(original.mapValues(\.shape)) }

    /// The narrow tensors with their values.
    var narrow: DeterministicWeights { DeterministicWeights(original.mapValues(\.narrow)) }
}

/// Weights that have names and shapes alone.
final class ShapesOnly: WeightSource {
    private let shapes: [String: Shape]
    private let dtype: DType?

    /// - Parameter dtype: nil for a type that graphs do not know.
    init(_ shapes: [String: Shape], dtype: DType? = .float16) {
        self.shapes = shapes
        self.dtype = dtype
    }

    /// The same with other tensors added or put in place, and some taken away.
    func with(_ changes: [String: Shape] = [:], without removed: (String) -> Bool = { _ in false }) -> ShapesOnly {
        ShapesOnly(shapes.filter { !removed($0.key) }.merging(changes) { _, new in new }, dtype: dtype)
    }

    var names: [String] { shapes.keys.sorted() }

    func info(_ name: String) -> WeightInfo? {
        guard let dtype, let shape = shapes[name] else { return nil }
        return WeightInfo(dtype: dtype, shape: shape)
    }

    func withBytes<Result>(_ name: String, _ body: (UnsafeRawBufferPointer) throws -> Result) throws -> Result {
        throw CalderaError("\(name) has no values.")
    }
}

/// A narrow checkpoint with the configs that it needs.
struct NarrowCheckpoint {
    let fixture: CheckpointFixture
    let configs: GivenConfigs
    let model: SingleFileModel

    /// - Parameter weights: what the file holds; nil for the fixture's narrow tensors.
    init(_ name: String, weights: (any WeightSource)? = nil) throws {
        let fixture = try CheckpointFixture.load(name)
        self.fixture = fixture
        let published = try SingleFileModel(fixture.header, path: name, tokenizers: TestPaths.embeddedModel)
        var unet = try published.config("unet")
        let levels = name == "sdxl" ? [4, 8, 16] : [4, 8, 16, 16]
        let narrow = JSONValue.array(levels.map { .int($0) })
        unet = JSONConfig(unet.values.merging(["block_out_channels": narrow]) { _, new in new }, path: unet.path)
        configs = GivenConfigs(published, ["unet": unet])
        model = try SingleFileModel(
            weights ?? fixture.narrow, path: "\(name).safetensors", tokenizers: TestPaths.embeddedModel,
            configs: configs)
    }
}

/// Another model with some other configs.
struct GivenConfigs: ModelSource {
    private let base: any ModelSource
    private let given: [String: JSONConfig]

    init(_ base: any ModelSource, _ given: [String: JSONConfig]) {
        self.base = base
        self.given = given
    }

    var path: String { base.path }
    var name: String { base.name }
    var className: String { base.className }
    var components: [String: ModelFolder.Component] { base.components }
    var index: JSONConfig { base.index }
    var note: String { base.note }

    func config(_ component: String) throws -> JSONConfig { try given[component] ?? base.config(component) }
    func weights(_ component: String) throws -> any WeightSource { try base.weights(component) }
    func tokenizer(_ component: String) throws -> URL { try base.tokenizer(component) }
    func settings() throws -> JSONConfig { try base.settings() }
}

/// CRC-32 as zlib computes it.
func crc32(_ bytes: UnsafeRawBufferPointer) -> UInt32 {
    var crc: UInt32 = 0xffff_ffff
    for byte in bytes {
        crc ^= UInt32(byte)
        for _ in 0..<8 { crc = crc >> 1 ^ (crc & 1 == 1 ? 0xedb8_8320 : 0) }
    }
    return ~crc
}
