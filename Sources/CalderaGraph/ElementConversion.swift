/// Converts runs of elements between the types of files, host and device.
///
/// The half-precision conversions work on the bits of eight numbers at a time: a baseline x86-64 build has no
/// instruction for them.
package enum ElementConversion {
    /// Converts `count` elements. True unless a finite number became infinite.
    @discardableResult
    package static func convert(
        _ source: UnsafeRawPointer, _ sourceType: DType, to target: UnsafeMutableRawPointer, _ targetType: DType,
        count: Int
    ) -> Bool {
        switch (sourceType, targetType) {
        case _ where sourceType == targetType:
            target.copyMemory(from: source, byteCount: count * sourceType.size)
            return true
        case (.float16, .float32):
            each(source, to: target, count) { (bits: SIMD8<UInt16>) in widened(bits) }
        case (.bfloat16, .float32):
            each(source, to: target, count) { (bits: SIMD8<UInt16>) in widenedBrain(bits) }
        case (.float32, .float16):
            return narrow(source, to: target, count) { (bits: SIMD8<UInt32>) in bits }
        case (.bfloat16, .float16):
            return narrow(source, to: target, count) { (bits: SIMD8<UInt16>) in widenedBrain(bits) }
        case (.float32, .bfloat16):
            each(source, to: target, count) { (bits: SIMD8<UInt32>) in narrowedBrain(bits) }
        default:
            preconditionFailure("no conversion from \(sourceType) to \(targetType) is ever asked for")
        }
        return true
    }

    private static func narrow<Source: FixedWidthInteger & SIMDScalar>(
        _ source: UnsafeRawPointer, to target: UnsafeMutableRawPointer, _ count: Int,
        _ wide: (SIMD8<Source>) -> SIMD8<UInt32>
    ) -> Bool {
        var overflows = SIMD8<UInt32>()
        each(source, to: target, count) { (bits: SIMD8<Source>) in
            let wide = wide(bits)
            let size = wide & 0x7fff_ffff
            // From 65520 on rounding gives infinity; infinities and NaNs are as they were.
            let beyond = (size .>= 0x477f_f000) .& (size .< 0x7f80_0000)
            overflows.replace(with: 1, where: beyond)
            return narrowed(wide)
        }
        return overflows == SIMD8<UInt32>()
    }

    /// Applies `body` to blocks of eight; the last one is padded with zeros.
    @inline(__always)
    private static func each<Source: SIMDScalar, Target: SIMDScalar>(
        _ source: UnsafeRawPointer, to target: UnsafeMutableRawPointer, _ count: Int,
        _ body: (SIMD8<Source>) -> SIMD8<Target>
    ) where Source: FixedWidthInteger, Target: FixedWidthInteger {
        let (sourceSize, targetSize) = (MemoryLayout<Source>.size, MemoryLayout<Target>.size)
        var index = 0
        while index + 8 <= count {
            let block = source.loadUnaligned(fromByteOffset: index * sourceSize, as: SIMD8<Source>.self)
            target.storeBytes(of: body(block), toByteOffset: index * targetSize, as: SIMD8<Target>.self)
            index += 8
        }
        guard index < count else { return }
        var block = SIMD8<Source>()
        for lane in 0..<count - index {
            block[lane] = source.loadUnaligned(fromByteOffset: (index + lane) * sourceSize, as: Source.self)
        }
        let converted = body(block)
        for lane in 0..<count - index {
            target.storeBytes(of: converted[lane], toByteOffset: (index + lane) * targetSize, as: Target.self)
        }
    }

    @inline(__always)
    private static func widenedBrain(_ bits: SIMD8<UInt16>) -> SIMD8<UInt32> {
        SIMD8<UInt32>(truncatingIfNeeded: bits) &<< 16
    }

    /// To the nearest, ties to even; a NaN stays one.
    @inline(__always)
    private static func narrowedBrain(_ bits: SIMD8<UInt32>) -> SIMD8<UInt16> {
        var rounded = (bits &+ 0x7fff &+ ((bits &>> 16) & 1)) &>> 16
        rounded.replace(with: (bits &>> 16) | 0x40, where: (bits & 0x7fff_ffff) .> 0x7f80_0000)
        return SIMD8<UInt16>(truncatingIfNeeded: rounded)
    }

    /// fp16 to fp32: exponent and fraction in place, then times 2^112, which also makes subnormal numbers normal.
    @inline(__always)
    private static func widened(_ bits: SIMD8<UInt16>) -> SIMD8<UInt32> {
        let wide = SIMD8<UInt32>(truncatingIfNeeded: bits)
        let sign = (wide & 0x8000) &<< 16
        let size = (wide & 0x7fff) &<< 13
        let scaled = unsafeBitCast(size, to: SIMD8<Float>.self) * Float(bitPattern: 0x7780_0000)
        var result = unsafeBitCast(scaled, to: SIMD8<UInt32>.self)
        // Infinities and NaNs keep their fraction under the largest exponent.
        result.replace(with: size | 0x7f80_0000, where: size .>= 0x0f80_0000)
        return result | sign
    }

    /// fp32 to fp16, to the nearest, ties to even.
    @inline(__always)
    private static func narrowed(_ bits: SIMD8<UInt32>) -> SIMD8<UInt16> {
        let sign = (bits & 0x8000_0000) &>> 16
        let size = bits & 0x7fff_ffff
        // Normal: rebias the exponent by 127 - 15 and round at bit 13.
        let even = (size &>> 13) & 1
        var result = (size &- 0x3800_0000 &+ 0x0fff &+ even) &>> 13
        // Subnormal: adding 1/2 leaves the rounded fraction, in units of 2^-24, in the lowest bits.
        let shifted = unsafeBitCast(size, to: SIMD8<Float>.self) + 0.5
        let subnormal = unsafeBitCast(shifted, to: SIMD8<UInt32>.self) &- 0x3f00_0000
        result.replace(with: subnormal, where: size .< 0x3880_0000)
        result.replace(with: 0x7c00, where: size .>= 0x477f_f000)
        result.replace(with: 0x7e00, where: size .> 0x7f80_0000)
        return SIMD8<UInt16>(truncatingIfNeeded: result | sign)
    }
}
