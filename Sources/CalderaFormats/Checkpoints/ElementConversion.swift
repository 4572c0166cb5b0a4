import CalderaGraph

/// Elements of one type as another, rounded to the nearest, ties to even.
enum ElementConversion {
    /// The elements as `target`, little-endian. Returns nil where a finite number is too large for it, and for int32
    /// where a number is not whole.
    static func converted(_ bytes: UnsafeRawBufferPointer, from source: DType, to target: DType) -> [UInt8]? {
        let values = ElementReader.floats(bytes, source)
        switch target {
        case .float32: return stored(values) { $0.bitPattern }
        case .float16:
            return stored(values) { value in
                let half = Float16(value)
                return half.isFinite || !value.isFinite ? half.bitPattern : nil
            }
        case .bfloat16:
            return stored(values) { value in
                let bits = bfloat16(value)
                return bits & 0x7fff < 0x7f80 || !value.isFinite ? bits : nil
            }
        case .int32: return stored(values) { Int32(exactly: $0).map(UInt32.init(bitPattern:)) }
        }
    }

    private static func stored<Bits: FixedWidthInteger>(_ values: [Float], _ bits: (Float) -> Bits?) -> [UInt8]? {
        let size = MemoryLayout<Bits>.size
        var fits = true
        let bytes = [UInt8](unsafeUninitializedCapacity: values.count * size) { output, initialized in
            let output = UnsafeMutableRawBufferPointer(output)
            for (index, value) in values.enumerated() {
                let converted = bits(value)
                output.storeBytes(of: (converted ?? 0).littleEndian, toByteOffset: index * size, as: Bits.self)
                if converted == nil { fits = false }
            }
            initialized = values.count * size
        }
        return fits ? bytes : nil
    }

    /// The upper half of the number's bits, rounded; a NaN stays one.
    private static func bfloat16(_ value: Float) -> UInt16 {
        let bits = value.bitPattern
        if value.isNaN { return UInt16(bits >> 16) | 0x0040 }
        return UInt16((bits &+ 0x7fff &+ (bits >> 16 & 1)) >> 16)
    }
}
