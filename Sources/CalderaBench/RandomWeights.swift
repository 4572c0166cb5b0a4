import CalderaGraph
import Synchronization

/// Weights that no file has to hold: random numbers of the right scale, made each time that they are asked for and the
/// same each time.
///
/// A norm's gain is 1 and every other vector 0. Matrices and kernels are uniform in ±sqrt(3 / inputs of a result), which
/// keeps the variance of what goes in: activations stay in fp16's range, as they do in a trained model.
package final class RandomWeights: WeightSource {
    private struct Entry: Sendable {
        let seed: UInt64
        let shape: Shape
    }

    package let names: [String]
    private let entries: [String: Entry]
    /// What was asked for last: an embedding reads its table once for each token.
    private let latest = Mutex<(name: String, values: [Float])?>(nil)
    /// What is held from one pass to the next, as a mapped file would be.
    private let heldName: String?

    /// Weights of these names and PyTorch's shapes; fp32.
    /// - Parameter held: one that is not made again for each pass.
    package init(_ weights: [(name: String, shape: Shape)], holding held: String? = nil) {
        names = weights.map(\.name)
        heldName = held
        let pairs = weights.enumerated().map { ($1.name, Entry(seed: UInt64($0) << 32, shape: $1.shape)) }
        entries = Dictionary(pairs) { first, _ in first }
    }

    package func info(_ name: String) -> WeightInfo? {
        entries[name].map { WeightInfo(dtype: .float32, shape: $0.shape) }
    }

    package func withBytes<Result>(_ name: String, _ body: (UnsafeRawBufferPointer) throws -> Result) throws -> Result {
        guard let entry = entries[name] else { throw CalderaError("There is no weight named \(name).") }
        return try values(name, entry).withUnsafeBytes(body)
    }

    package func release(_ name: String) {
        if name == heldName { return }
        latest.withLock { if $0?.name == name { $0 = nil } }
    }

    private func values(_ name: String, _ entry: Entry) -> [Float] {
        if let known = latest.withLock({ $0?.name == name ? $0?.values : nil }) { return known }
        // The one before goes first, so that two are never held at once.
        latest.withLock { $0 = nil }
        let values = Self.made(name, entry)
        latest.withLock { $0 = (name, values) }
        return values
    }

    private static func made(_ name: String, _ entry: Entry) -> [Float] {
        let count = entry.shape.count
        if entry.shape.rank <= 1 { return [Float](repeating: name.hasSuffix("weight") ? 1 : 0, count: count) }
        let inputs = entry.shape.extents.dropFirst().reduce(1, *)
        return RandomNumbers.uniform(count, bound: (3 / Float(max(1, inputs))).squareRoot(), seed: entry.seed)
    }
}

/// Random numbers by place: the SplitMix64 finaliser (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number
/// Generators", 2014) of a counter.
package enum RandomNumbers {
    /// `count` numbers, uniform from -bound to bound.
    package static func uniform(_ count: Int, bound: Float, seed: UInt64 = 0) -> [Float] {
        let scale = bound * 0x1p-23
        return [Float](unsafeUninitializedCapacity: count) { buffer, filled in
            for index in 0..<count {
                var hash = UInt64(truncatingIfNeeded: index) &+ seed &+ 0x9E37_79B9_7F4A_7C15
                hash = (hash ^ hash >> 30) &* 0xBF58_476D_1CE4_E5B9
                hash = (hash ^ hash >> 27) &* 0x94D0_49BB_1331_11EB
                // The upper 24 bits, as a signed number.
                buffer[index] = Float(Int32(truncatingIfNeeded: hash >> 40) &- 0x80_0000) * scale
            }
            filled = count
        }
    }

    /// Numbers of variance 1 in a tensor of this shape.
    package static func unit(_ shape: Shape, seed: UInt64 = 0) -> HostTensor {
        HostTensor(shape, uniform(shape.count, bound: 1.732_050_8, seed: seed))
    }
}
