import CalderaGraph

/// Elements of one type as another, rounded to the nearest, ties to even.
enum ElementConversion {
    /// The elements as fp32; the bytes need no alignment.
    static func floats(_ bytes: UnsafeRawBufferPointer, _ dtype: DType) -> [Float] {
        let count = bytes.count / dtype.size
        return [Float](unsafeUninitializedCapacity: count) { target, initialized in
            for index in 0..<count { target[index] = float(bytes, index, dtype) }
            initialized = count
        }
    }

    /// The elements as `target`, fp32, fp16 or bf16. Returns nil where a finite number is too large for it.
    static func converted(_ bytes: UnsafeRawBufferPointer, from source: DType, to target: DType) -> [UInt8]? {
        let count = bytes.count / source.size
        var fits = true
        let converted = [UInt8](unsafeUninitializedCapacity: count * target.size) { output, initialized in
            let output = UnsafeMutableRawBufferPointer(output)
            for index in 0..<count {
                let value = float(bytes, index, source)
                fits = store(value, index, target, output) && fits
            }
            initialized = count * target.size
        }
        return fits ? converted : nil
    }

    private static func float(_ bytes: UnsafeRawBufferPointer, _ index: Int, _ dtype: DType) -> Float {
        switch dtype {
        case .float32: Float(bitPattern: word(bytes, index))
        case .float16: Float(Float16(bitPattern: half(bytes, index)))
        case .bfloat16: Float(bitPattern: UInt32(half(bytes, index)) << 16)
        case .int32: Float(Int32(bitPattern: word(bytes, index)))
        }
    }

    private static func word(_ bytes: UnsafeRawBufferPointer, _ index: Int) -> UInt32 {
        UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 4 * index, as: UInt32.self))
    }

    private static func half(_ bytes: UnsafeRawBufferPointer, _ index: Int) -> UInt16 {
        UInt16(littleEndian: bytes.loadUnaligned(fromByteOffset: 2 * index, as: UInt16.self))
    }

    /// Stores an element; false where it is finite and becomes infinite.
    private static func store(
        _ value: Float, _ index: Int, _ dtype: DType, _ output: UnsafeMutableRawBufferPointer
    ) -> Bool {
        switch dtype {
        case .float16:
            let half = Float16(value)
            output.storeBytes(of: half.bitPattern.littleEndian, toByteOffset: 2 * index, as: UInt16.self)
            return half.isFinite || !value.isFinite
        case .bfloat16:
            let bits = bfloat16(value)
            output.storeBytes(of: bits.littleEndian, toByteOffset: 2 * index, as: UInt16.self)
            return bits & 0x7fff < 0x7f80 || !value.isFinite
        case .float32:
            output.storeBytes(of: value.bitPattern.littleEndian, toByteOffset: 4 * index, as: UInt32.self)
            return true
        case .int32:
            let integer = Int32(exactly: value)
            output.storeBytes(of: (integer ?? 0).littleEndian, toByteOffset: 4 * index, as: Int32.self)
            return integer != nil
        }
    }

    /// The upper half of the number's bits, rounded; a NaN stays one.
    private static func bfloat16(_ value: Float) -> UInt16 {
        let bits = value.bitPattern
        if value.isNaN { return UInt16(bits >> 16) | 0x0040 }
        return UInt16((bits &+ 0x7fff &+ (bits >> 16 & 1)) >> 16)
    }
}
