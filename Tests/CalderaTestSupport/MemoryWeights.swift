import CalderaGraph

/// Weights that a test made up, stored as a file of one element type would store them.
package final class MemoryWeights: WeightSource {
    private struct Entry: Sendable {
        let info: WeightInfo
        let bytes: [UInt8]
    }

    private let entries: [String: Entry]

    /// Stores each tensor under its name and PyTorch's shape, its elements rounded to `dtype`.
    package init(_ tensors: [String: HostTensor], dtype: DType = .float32) {
        entries = tensors.mapValues { tensor in
            Entry(
                info: WeightInfo(dtype: dtype, shape: tensor.shape),
                bytes: ElementCoding.encoded(tensor.floats, as: dtype))
        }
    }

    package var names: [String] { entries.keys.sorted() }

    package func info(_ name: String) -> WeightInfo? { entries[name]?.info }

    package func withBytes<Result>(_ name: String, _ body: (UnsafeRawBufferPointer) throws -> Result) throws -> Result {
        guard let entry = entries[name] else { throw CalderaError("There is no weight named \(name).") }
        return try entry.bytes.withUnsafeBytes(body)
    }
}
