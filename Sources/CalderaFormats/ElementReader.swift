import CalderaGraph

/// Stored elements as fp32: exact for each type but int32.
enum ElementReader {
    /// The little-endian elements of `bytes`, which need no alignment.
    static func floats(_ bytes: UnsafeRawBufferPointer, _ dtype: DType) -> [Float] {
        let count = bytes.count / dtype.size
        return [Float](unsafeUninitializedCapacity: count) { target, initialized in
            convert(bytes, dtype, to: UnsafeMutableBufferPointer(rebasing: target[..<count]))
            initialized = count
        }
    }

    /// Fills `target`, for whose every element `bytes` holds one.
    static func convert(_ bytes: UnsafeRawBufferPointer, _ dtype: DType, to target: UnsafeMutableBufferPointer<Float>) {
        func element<Bits: FixedWidthInteger>(_ index: Int, as type: Bits.Type) -> Bits {
            Bits(littleEndian: bytes.loadUnaligned(fromByteOffset: index * MemoryLayout<Bits>.size, as: type))
        }
        switch dtype {
        case .float32:
            for index in target.indices { target[index] = Float(bitPattern: element(index, as: UInt32.self)) }
        case .float16:
            for index in target.indices {
                target[index] = Float(Float16(bitPattern: element(index, as: UInt16.self)))
            }
        case .bfloat16:
            for index in target.indices {
                target[index] = Float(bitPattern: UInt32(element(index, as: UInt16.self)) << 16)
            }
        case .int32:
            for index in target.indices { target[index] = Float(element(index, as: Int32.self)) }
        }
    }
}
