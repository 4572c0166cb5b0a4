import CalderaCPU
import CalderaGraph

/// Merges changes into weights, some rows at a time on each thread, so that a weight passes through the caches once and
/// memory holds one layer's factors.
final class WeightMerger {
    /// Numbers of a weight that are merged at one time: 1 MiB in fp32.
    private static let most = 1 << 18

    private let arithmetic: MatrixArithmetic
    /// The rows that each thread merges.
    private var buffers: [FloatBuffer] = []

    /// Throws when oneDNN cannot be had.
    init() throws { arithmetic = try MatrixArithmetic() }

    /// Writes base + changes, summed in fp32 and rounded once, to `destination`, in the base's type.
    /// Throws where a value of an adapter is not finite, or a sum is none that the type can hold.
    func merge(
        _ base: UnsafeRawPointer, _ info: WeightInfo, _ changes: [WeightChange],
        into destination: UnsafeMutableRawPointer,
        name: String
    ) throws {
        let shape = MatrixShape(info.shape)
        let prepared = try changes.map { try PreparedChange($0, arithmetic) }
        let isWhole = prepared.contains(where: \.needsWholeWeight)
        let step = isWhole ? shape.rows : max(1, WeightMerger.most / shape.width)
        let parts = (shape.rows + step - 1) / step
        reserve(min(parts, MatrixArithmetic.threads), step * shape.width)
        try MatrixArithmetic.parallel(parts) { thread, index in
            let range = index * step..<min((index + 1) * step, shape.rows)
            let offset = range.lowerBound * shape.width * info.dtype.size
            let target = WeightRows(rows: range, width: shape.width, base: buffers[thread].base)
            MatrixArithmetic.convert(base + offset, info.dtype, to: target.base, .float32, count: target.count)
            for change in prepared { try change.apply(to: target, arithmetic, label: name) }
            try check(target, info.dtype, name)
            MatrixArithmetic.convert(target.base, .float32, to: destination + offset, info.dtype, count: target.count)
        }
    }

    private func check(_ target: WeightRows, _ dtype: DType, _ name: String) throws {
        guard MatrixArithmetic.peak(target.base, count: target.count) < dtype.firstInfinite else {
            throw CalderaError(
                "With these adapters the weight \(name) has numbers that \(dtype) cannot hold: give them less weight.")
        }
    }

    /// Makes a buffer for each thread that may need one.
    private func reserve(_ threads: Int, _ count: Int) {
        if buffers.count >= threads, buffers.allSatisfy({ $0.count >= count }) { return }
        buffers = (0..<MatrixArithmetic.threads).map { _ in FloatBuffer(count) }
    }
}

extension DType {
    /// The bits of the least fp32 number that rounds to infinity in this type.
    fileprivate var firstInfinite: UInt32 {
        switch self {
        case .float16: Float(65520).bitPattern
        case .bfloat16: 0x7f7f_8000
        case .float32, .int32: Float.infinity.bitPattern
        }
    }
}
