import CalderaGraph

/// Eight fp32 numbers: two registers of SSE or NEON, one of AVX.
typealias Lanes = SIMD8<Float>

/// Elementary functions on eight numbers at a time. A NaN comes out where one went in.
enum VectorMath {
    /// e^x with a relative error below 2e-7, for any x; results below the smallest normal number become about 1e-38,
    /// those above 2^126 are held there.
    ///
    /// x = n·ln 2 + r with ln 2 in two parts (Cody and Waite, "Software Manual for the Elementary Functions", 1980,
    /// chapter 6), |r| <= ln 2 / 2, then Taylor's polynomial of degree 7, whose first omitted term is r⁸/8! < 6e-9.
    @inline(__always)
    static func exp(_ x: Lanes) -> Lanes {
        let high = Lanes(repeating: 87.3)
        var x = x.replacing(with: high, where: x .> high)
        x.replace(with: -high, where: x .< -high)
        // Adding 1.5·2²³ leaves n, rounded to nearest, in the low bits.
        let magic = Lanes(repeating: 12_582_912)
        let shifted = x * 1.442_695_04 + magic
        let n = shifted - magic
        let r = (x - n * 0.693_359_375) + n * 2.121_944_4e-4
        var p = r * (1.0 / 5040) + (1.0 / 720)
        p = p * r + (1.0 / 120)
        p = p * r + (1.0 / 24)
        p = p * r + (1.0 / 6)
        p = p * r + 0.5
        p = p * r + 1
        p = p * r + 1
        let power = (SIMD8<UInt32>(bits: shifted) &<< 23) &+ 0x3f80_0000
        return p * Lanes(bits: power)
    }

    /// x / (1 + e^(-factor·x)): SiLU with factor 1, the GELU of the original CLIP with 1.702.
    @inline(__always)
    static func swish(_ x: Lanes, factor: Float) -> Lanes { x / (exp(x * -factor) + 1) }

    /// x·Φ(x) with an absolute error below 2e-7·max(1, |x|).
    ///
    /// Φ(-|x|) = erfc(|x| / √2) / 2 by Hastings' approximation, Abramowitz and Stegun, "Handbook of Mathematical
    /// Functions" (1964), formula 7.1.26.
    @inline(__always)
    static func gelu(_ x: Lanes) -> Lanes {
        let magnitude = x.replacing(with: -x, where: x .< 0)
        let z = magnitude * 0.707_106_78
        let t = 1 / (z * 0.327_591_1 + 1)
        var p = t * 1.061_405_429 - 1.453_152_027
        p = p * t + 1.421_413_741
        p = p * t - 0.284_496_736
        p = p * t + 0.254_829_592
        let tail = p * t * exp(-(z * z)) * 0.5
        return x * tail.replacing(with: 1 - tail, where: x .> 0)
    }

    @inline(__always)
    static func relu(_ x: Lanes) -> Lanes { x.replacing(with: 0, where: x .< 0) }

    /// `function` of each lane.
    @inline(__always)
    static func apply(_ function: Activation, _ x: Lanes) -> Lanes {
        switch function {
        case .silu: swish(x, factor: 1)
        case .gelu: gelu(x)
        case .quickGELU: swish(x, factor: 1.702)
        case .relu: relu(x)
        }
    }
}

extension SIMD8 where Scalar == UInt32 {
    /// The bit patterns of eight numbers.
    @inline(__always)
    init(bits lanes: Lanes) { self = unsafeBitCast(lanes, to: SIMD8<UInt32>.self) }
}

extension SIMD8 where Scalar == Float {
    /// The numbers with these bit patterns.
    @inline(__always)
    init(bits: SIMD8<UInt32>) { self = unsafeBitCast(bits, to: Lanes.self) }
}
