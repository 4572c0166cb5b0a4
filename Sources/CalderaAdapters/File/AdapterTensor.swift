import CalderaCPU
import CalderaGraph

/// A tensor of an adapter file: its name and shape are known, its bytes are read when a weight is merged.
struct AdapterTensor: Sendable {
    let source: any WeightSource
    let name: String
    /// The file, for messages.
    let path: String
    let info: WeightInfo

    var shape: Shape { info.shape }

    /// The tensor's elements times `factor`, row-major. Throws when they cannot be read or one is not finite.
    func floats(times factor: Float = 1) throws -> FloatBuffer {
        let count = info.shape.count
        let buffer = FloatBuffer(count)
        try source.withBytes(name) { bytes in
            guard let base = bytes.baseAddress, bytes.count == count * info.dtype.size else {
                throw CalderaError("\(path): \(name) has \(bytes.count) bytes, which \(info.shape) does not fill.")
            }
            MatrixArithmetic.convert(base, info.dtype, to: buffer.base, .float32, count: count)
        }
        guard buffer.isFinite else {
            throw CalderaError("\(path): \(name) holds a number that is not finite: download or train it again.")
        }
        if factor != 1 { buffer.scale(by: factor) }
        return buffer
    }

    /// The value of a tensor of one element, such as `alpha`.
    func scalar() throws -> Double {
        guard info.shape.count == 1 else {
            throw CalderaError("\(path): \(name) should be one number but has the shape \(info.shape).")
        }
        return Double(try floats()[0])
    }
}

/// fp32 numbers in memory of their own, aligned to cache lines. Who uses `base` must keep the buffer meanwhile.
final class FloatBuffer {
    let base: UnsafeMutablePointer<Float>
    let count: Int

    /// Not initialised.
    init(_ count: Int) {
        let bytes = UnsafeMutableRawPointer.allocate(byteCount: max(count, 1) * 4, alignment: 64)
        base = bytes.bindMemory(to: Float.self, capacity: max(count, 1))
        self.count = count
    }

    deinit { UnsafeMutableRawPointer(base).deallocate() }

    subscript(index: Int) -> Float { base[index] }

    var isFinite: Bool { MatrixArithmetic.peak(base, count: count) < Float.infinity.bitPattern }

    func scale(by factor: Float) {
        for index in 0..<count { base[index] *= factor }
    }
}
