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
/// - rank 2 and more: u sqrt(3 / product of all extents but the first), where u in [-1, 1) is 2^-52 (h >> 11) - 1 and h
///   the SplitMix64 finaliser (Steele, Lea and Flood 2014) of i + 2^32 k + 0x9E3779B97F4A7C15
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
            let scale = (3 / Double(entry.shape.extents.dropFirst().reduce(1, *))).squareRoot()
            return indices.map { Float(uniform($0, entry.index) * scale) }
        }
        if name.hasSuffix("weight") {
            return indices.map { Float(1 + 0.1 * sin(0.7 * Double($0) + phase)) }
        }
        return indices.map { Float(0.1 * cos(0.3 * Double($0) + phase)) }
    }

    /// u of the rule.
    private static func uniform(_ element: Int, _ index: Int) -> Double {
        var hash = UInt64(element) &+ UInt64(index) << 32 &+ 0x9E37_79B9_7F4A_7C15
        hash = (hash ^ hash >> 30) &* 0xBF58_476D_1CE4_E5B9
        hash = (hash ^ hash >> 27) &* 0x94D0_49BB_1331_11EB
        hash ^= hash >> 31
        return Double(hash >> 11) * 0x1p-52 - 1
    }
}
