import CalderaGraph
import Testing

/// Elements that pass from fp32 to 16 bits and back.
@Suite struct ElementConversionTests {
    private func converted(_ values: [Float], through dtype: DType) -> [Float] {
        var packed = [UInt16](repeating: 0, count: values.count)
        var result = [Float](repeating: 0, count: values.count)
        values.withUnsafeBytes { source in
            packed.withUnsafeMutableBytes { target in
                guard let from = source.baseAddress, let to = target.baseAddress else { return }
                ElementConversion.convert(from, .float32, to: to, dtype, count: values.count)
            }
        }
        packed.withUnsafeBytes { source in
            result.withUnsafeMutableBytes { target in
                guard let from = source.baseAddress, let to = target.baseAddress else { return }
                ElementConversion.convert(from, dtype, to: to, .float32, count: values.count)
            }
        }
        return result
    }

    /// Eight at a time, and what is left of them.
    @Test("What 16 bits hold comes back as it was", arguments: [DType.float16, .bfloat16])
    func exact(dtype: DType) {
        let values: [Float] = [0, 1, -1, 0.5, 1.5, -2.25, 96, 0.0078125, -1024, 240, 3]
        #expect(converted(values, through: dtype) == values)
    }

    @Test("bf16 rounds to the nearest, ties to even") func rounding() {
        let ulp: Float = 1.0 / 128
        let values = [1 + ulp / 2, 1 + ulp * 3 / 2, 1 + ulp * 0.51, 1 + ulp * 0.49, -1 - ulp / 2, Float.infinity]
        #expect(converted(values, through: .bfloat16) == [1, 1 + 2 * ulp, 1 + ulp, 1, -1, .infinity])
        #expect(converted([.nan], through: .bfloat16)[0].isNaN)
    }
}
