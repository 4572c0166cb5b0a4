import CalderaGraph

/// How element types store numbers: rounding to the nearest, ties to even, and little-endian bytes.
package enum ElementCoding {
    /// The number that `dtype` stores for `value`; numbers beyond its range become infinite.
    package static func rounded(_ value: Double, to dtype: DType) -> Double {
        switch dtype {
        case .float32: Double(Float(value))
        case .float16: Double(Float16(value))
        case .bfloat16: Double(Float(bitPattern: UInt32(bfloat16Bits(Float(value))) << 16))
        case .int32: value.rounded(.toNearestOrEven)
        }
    }

    /// The tensor with every element rounded to `dtype`; integers stay as they are.
    package static func rounded(_ tensor: HostTensor, to dtype: DType) -> HostTensor {
        guard case .float(let floats) = tensor.values else { return tensor }
        return HostTensor(tensor.shape, floats.map { Float(rounded(Double($0), to: dtype)) })
    }

    /// The bytes that a file of `dtype` holds for `values`.
    package static func encoded(_ values: [Float], as dtype: DType) -> [UInt8] {
        values.flatMap { value -> [UInt8] in
            switch dtype {
            case .float32: bytes(of: value.bitPattern)
            case .float16: bytes(of: Float16(value).bitPattern)
            case .bfloat16: bytes(of: bfloat16Bits(value))
            case .int32: bytes(of: Int32(value))
            }
        }
    }

    /// The numbers that `bytes` of `dtype` stand for; the bytes need no alignment.
    package static func decoded(_ bytes: UnsafeRawBufferPointer, as dtype: DType) -> [Double] {
        stride(from: 0, to: bytes.count / dtype.size * dtype.size, by: dtype.size).map { offset in
            switch dtype {
            case .float32:
                Double(
                    Float(
                        bitPattern: UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self))))
            case .float16:
                Double(
                    Float16(
                        bitPattern: UInt16(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt16.self))))
            case .bfloat16:
                Double(
                    Float(
                        bitPattern: UInt32(
                            UInt16(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt16.self))) << 16))
            case .int32:
                Double(Int32(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: Int32.self)))
            }
        }
    }

    /// The upper half of the number's bits, rounded to the nearest, ties to even; a NaN stays one.
    private static func bfloat16Bits(_ value: Float) -> UInt16 {
        let bits = value.bitPattern
        if value.isNaN { return UInt16(bits >> 16) | 0x0040 }
        let roundUp = 0x7fff + ((bits >> 16) & 1)
        return UInt16((bits &+ roundUp) >> 16)
    }

    private static func bytes<Number: FixedWidthInteger>(of number: Number) -> [UInt8] {
        withUnsafeBytes(of: number.littleEndian) { Array($0) }
    }
}
