import CalderaAdapters
import CalderaFormats
import CalderaGraph
import CalderaTestSupport
import Foundation

/// The golden files of this module.
enum Fixture {
    static func url(_ name: String) -> URL { TestPaths.fixture(name, of: "CalderaAdaptersTests") }

    static func path(_ name: String) -> String { url(name).path }

    static func json<Value: Decodable>(_ name: String, _: Value.Type = Value.self) throws -> Value {
        try JSONDecoder().decode(Value.self, from: Data(contentsOf: url(name)))
    }
}

/// Names and shapes of weights that have no values.
final class ShapesOnly: WeightSource {
    private let shapes: [String: Shape]

    init(_ shapes: [String: Shape]) { self.shapes = shapes }

    /// A list of names and shapes that a golden script wrote.
    convenience init(manifest: String) throws {
        self.init(try Fixture.json(manifest, [String: [Int]].self).mapValues { Shape($0) })
    }

    var names: [String] { Array(shapes.keys) }

    func info(_ name: String) -> WeightInfo? { shapes[name].map { WeightInfo(dtype: .float16, shape: $0) } }

    func withBytes<Result>(_ name: String, _ body: (UnsafeRawBufferPointer) throws -> Result) throws -> Result {
        throw CalderaError("\(name) has no values: nothing may read it here.")
    }
}

extension WeightSource {
    /// A weight's elements as fp32.
    func tensor(_ name: String) throws -> HostTensor { try GoldenFile(self).tensor(name) }

    /// A weight's bytes.
    func bytes(_ name: String) throws -> [UInt8] { try withBytes(name) { Array($0) } }
}

/// An adapter file made of tensors in memory.
func adapter(
    _ tensors: [String: HostTensor], metadata: [String: String] = [:], path: String = "some.safetensors"
) throws -> AdapterFile {
    try AdapterFile(MemoryWeights(tensors), metadata: metadata, path: path)
}

/// A tensor of that shape whose elements differ.
func ramp(_ shape: Shape, from start: Float = 0.5) -> HostTensor {
    HostTensor(shape, (0..<shape.count).map { start + 0.25 * Float($0 % 7) })
}
