import CalderaGraph
import Foundation
import Synchronization

/// The weights of a tiny test model, given by a formula instead of a file, so that none has to be committed.
///
/// The rule is that of `Tools/goldens/support/deterministic_weights.py`, which the goldens were made with. The names of
/// a component are sorted by bytes; k is a name's index in that order, i the row-major index of an element. In fp64,
/// then rounded to fp32:
/// - rank 1, name ends with `weight` (a norm's gain): 1 + 0.1 sin(0.7 i + k)
/// - rank 1, any other (a bias): 0.1 cos(0.3 i + k)
/// - rank 2 and more: sin(0.1 ((7919 i + 104729 k) mod 10007)) / sqrt(product of all extents but the first)
package final class DeterministicWeights: WeightSource {
    private struct Entry: Sendable {
        let index: Int
        let shape: Shape
    }

    package let names: [String]
    private let entries: [String: Entry]
    private let cache = Mutex<[String: [Float]]>([:])

    /// Weights for the tensors of `shapes`, which maps the names of one component's file to PyTorch's shapes.
    package init(_ shapes: [String: Shape]) {
        names = shapes.keys.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
        entries = Dictionary(
            uniqueKeysWithValues: names.enumerated().compactMap { index, name in
                shapes[name].map { (name, Entry(index: index, shape: $0)) }
            })
    }

    /// Reads the `weights.json` of a component: an object of tensor names and shapes.
    /// Throws `CalderaError` when the file cannot be read or is no such object.
    package convenience init(manifest: URL) throws {
        do {
            let shapes = try JSONDecoder().decode([String: [Int]].self, from: Data(contentsOf: manifest))
            self.init(shapes.mapValues { Shape($0) })
        } catch {
            throw CalderaError("\(manifest.path) is not a list of tensor shapes: \(error)")
        }
    }

    package func info(_ name: String) -> WeightInfo? {
        entries[name].map { WeightInfo(dtype: .float32, shape: $0.shape) }
    }

    package func withBytes<Result>(_ name: String, _ body: (UnsafeRawBufferPointer) throws -> Result) throws -> Result {
        try values(name).withUnsafeBytes(body)
    }

    /// The elements of a tensor, row-major. Throws `CalderaError` when there is no such tensor.
    package func values(_ name: String) throws -> [Float] {
        guard let entry = entries[name] else { throw CalderaError("There is no weight named \(name).") }
        if let cached = cache.withLock({ $0[name] }) { return cached }
        let values = Self.values(name, entry)
        cache.withLock { $0[name] = values }
        return values
    }

    private static func values(_ name: String, _ entry: Entry) -> [Float] {
        let phase = Double(entry.index)
        let indices = 0..<entry.shape.count
        if entry.shape.rank > 1 {
            let scale = Double(entry.shape.extents.dropFirst().reduce(1, *)).squareRoot()
            return indices.map { Float(wave[($0 * 7919 + entry.index * 104_729) % wave.count] / scale) }
        }
        if name.hasSuffix("weight") {
            return indices.map { Float(1 + 0.1 * sin(0.7 * Double($0) + phase)) }
        }
        return indices.map { Float(0.1 * cos(0.3 * Double($0) + phase)) }
    }

    /// sin(0.1 n) for every n that the remainder can be.
    private static let wave: [Double] = (0..<10007).map { sin(0.1 * Double($0)) }
}
