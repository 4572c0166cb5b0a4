import CalderaGraph

/// A text encoder's weights with further rows in its table of token embeddings: `….token_embedding.weight` [V, d]
/// becomes [V + n, d]. All other tensors are passed through.
///
/// The longer table is fp32 whatever the file stores, so that no vector is rounded before the precision that is asked
/// for rounds it.
package final class ExtendedEmbeddings: WeightSource {
    private static let suffix = "token_embedding.weight"

    /// The id of the first new token: V. Token V + i is row i of the vectors.
    package let firstToken: Int

    private let base: any WeightSource
    private let name: String
    private let stored: WeightInfo
    private let rows: [Float]
    private let shape: Shape

    /// - Parameter vectors: the rows to append, each tensor [n, d], in the order of their tokens.
    /// Throws `CalderaError` when `base` has no such table or several, or the vectors have another width.
    package init(_ base: any WeightSource, vectors: [HostTensor]) throws {
        let names = base.names.filter { $0 == Self.suffix || $0.hasSuffix("." + Self.suffix) }
        guard let name = names.first, names.count == 1, let stored = base.info(name), stored.shape.rank == 2 else {
            throw CalderaError(
                "The text encoder's weights hold no one table \(Self.suffix): is it a CLIP text encoder?")
        }
        let width = stored.shape[1]
        for tensor in vectors {
            guard tensor.shape.rank == 2, tensor.shape[1] == width else {
                throw CalderaError("Vectors \(tensor.shape) cannot be appended to \(name) \(stored.shape).")
            }
        }
        self.base = base
        self.name = name
        self.stored = stored
        rows = vectors.flatMap(\.floats)
        firstToken = stored.shape[0]
        shape = [stored.shape[0] + vectors.reduce(0) { $0 + $1.shape[0] }, width]
    }

    package var names: [String] { base.names }

    package func info(_ name: String) -> WeightInfo? {
        name == self.name ? WeightInfo(dtype: .float32, shape: shape) : base.info(name)
    }

    /// The longer table is made anew for each call and given up after it.
    package func withBytes<Result>(_ name: String, _ body: (UnsafeRawBufferPointer) throws -> Result) throws -> Result {
        guard name == self.name else { return try base.withBytes(name, body) }
        let table = try base.withBytes(name) { bytes in
            [Float](unsafeUninitializedCapacity: shape.count) { target, count in
                let old = stored.shape.count
                ElementReader.convert(bytes, stored.dtype, to: UnsafeMutableBufferPointer(rebasing: target[..<old]))
                _ = UnsafeMutableBufferPointer(rebasing: target[old...]).initialize(from: rows)
                count = shape.count
            }
        }
        return try table.withUnsafeBytes(body)
    }
}
