import CVectorMath
import CalderaGraph

/// Eight fp32 numbers: two registers of SSE or NEON, one of AVX. For what is bound by memory; what computes more goes
/// through `CVectorMath`, which uses the widest registers that the processor has.
typealias Lanes = SIMD8<Float>

/// An element type that plans compute in.
protocol ComputedElement: Element {
    /// Writes e^(scale · (x - peak)) for the next `count` scores of a row, whose sum and peak so far `row` has, and returns
    /// the factor for what was computed with the peak before. Both may be the same memory.
    static func exponentiate(
        _ scores: UnsafePointer<Float>, _ powers: UnsafeMutablePointer<Self>, _ count: Int, scale: Float,
        _ row: inout cvm_softmax
    ) -> Float
    /// function(source).
    static func apply(
        _ function: Activation, _ source: UnsafePointer<Self>, _ destination: UnsafeMutablePointer<Self>, _ count: Int)
    /// function((source - mean) · scale + shift), element by element.
    static func affine(
        _ function: Activation?, _ source: UnsafePointer<Self>, mean: UnsafePointer<Float>,
        scale: UnsafePointer<Float>, shift: UnsafePointer<Float>, _ destination: UnsafeMutablePointer<Self>,
        _ count: Int)
    /// source · gelu(gate).
    static func gate(
        _ source: UnsafePointer<Self>, _ gate: UnsafePointer<Self>, _ destination: UnsafeMutablePointer<Self>,
        _ count: Int)
    /// silu(gate) · source.
    static func swiglu(
        _ gate: UnsafePointer<Self>, _ source: UnsafePointer<Self>, _ destination: UnsafeMutablePointer<Self>,
        _ count: Int)
    /// sums[c] = Σ source[row, c] over dense rows.
    static func columnSums(
        _ source: UnsafePointer<Self>, _ sums: UnsafeMutablePointer<Float>, rows: Int, channels: Int)
    /// sums[c] = Σ (source[row, c] - means[c])² over dense rows.
    static func columnDeviations(
        _ source: UnsafePointer<Self>, _ means: UnsafePointer<Float>, _ sums: UnsafeMutablePointer<Float>, rows: Int,
        channels: Int)
    /// (source - mean) / √(variance + ε) · weight + bias, with the row's own statistics.
    static func layerNorm(
        _ source: UnsafePointer<Self>, weight: UnsafePointer<Float>, bias: UnsafePointer<Float>,
        _ destination: UnsafeMutablePointer<Self>, _ count: Int, epsilon: Float)
    /// source / √(mean of squares + ε) · weight.
    static func rmsNorm(
        _ source: UnsafePointer<Self>, weight: UnsafePointer<Float>, _ destination: UnsafeMutablePointer<Self>,
        _ count: Int, epsilon: Float)
    /// results[v, i] = row i of the matrix times vector v.
    static func rowProducts(
        _ matrix: UnsafePointer<Self>, _ vectors: UnsafePointer<Float>, _ results: UnsafeMutablePointer<Float>,
        _ extents: cvm_row_extents)
    /// result[d] = Σᵢ factors[i] · rows[i, d] over `count` rows, `stride` elements apart.
    static func weightedRows(
        _ rows: UnsafePointer<Self>, _ factors: UnsafePointer<Float>, _ result: UnsafeMutablePointer<Float>,
        count: Int, depth: Int, stride: Int)
}

extension Float: ComputedElement {
    static func exponentiate(
        _ scores: UnsafePointer<Float>, _ powers: UnsafeMutablePointer<Float>, _ count: Int, scale: Float,
        _ row: inout cvm_softmax
    ) -> Float { cvm_exponentiate_f32(scores, powers, count, scale, &row) }

    static func apply(
        _ function: Activation, _ source: UnsafePointer<Float>, _ destination: UnsafeMutablePointer<Float>,
        _ count: Int
    ) { cvm_apply_f32(function.flat, source, destination, count) }

    static func affine(
        _ function: Activation?, _ source: UnsafePointer<Float>, mean: UnsafePointer<Float>,
        scale: UnsafePointer<Float>, shift: UnsafePointer<Float>, _ destination: UnsafeMutablePointer<Float>,
        _ count: Int
    ) { cvm_affine_f32(function?.flat ?? CVM_IDENTITY, source, mean, scale, shift, destination, count) }

    static func gate(
        _ source: UnsafePointer<Float>, _ gate: UnsafePointer<Float>, _ destination: UnsafeMutablePointer<Float>,
        _ count: Int
    ) { cvm_gate_f32(source, gate, destination, count) }

    static func swiglu(
        _ gate: UnsafePointer<Float>, _ source: UnsafePointer<Float>, _ destination: UnsafeMutablePointer<Float>,
        _ count: Int
    ) { cvm_swiglu_f32(gate, source, destination, count) }

    static func columnSums(
        _ source: UnsafePointer<Float>, _ sums: UnsafeMutablePointer<Float>, rows: Int, channels: Int
    ) { cvm_column_sums_f32(source, sums, rows, channels) }

    static func columnDeviations(
        _ source: UnsafePointer<Float>, _ means: UnsafePointer<Float>, _ sums: UnsafeMutablePointer<Float>,
        rows: Int, channels: Int
    ) { cvm_column_deviations_f32(source, means, sums, rows, channels) }

    static func layerNorm(
        _ source: UnsafePointer<Float>, weight: UnsafePointer<Float>, bias: UnsafePointer<Float>,
        _ destination: UnsafeMutablePointer<Float>, _ count: Int, epsilon: Float
    ) { cvm_layer_norm_f32(source, weight, bias, destination, count, epsilon) }

    static func rmsNorm(
        _ source: UnsafePointer<Float>, weight: UnsafePointer<Float>, _ destination: UnsafeMutablePointer<Float>,
        _ count: Int, epsilon: Float
    ) { cvm_rms_norm_f32(source, weight, destination, count, epsilon) }

    static func rowProducts(
        _ matrix: UnsafePointer<Float>, _ vectors: UnsafePointer<Float>, _ results: UnsafeMutablePointer<Float>,
        _ extents: cvm_row_extents
    ) { withUnsafePointer(to: extents) { cvm_row_products_f32(matrix, vectors, results, $0) } }

    static func weightedRows(
        _ rows: UnsafePointer<Float>, _ factors: UnsafePointer<Float>, _ result: UnsafeMutablePointer<Float>,
        count: Int, depth: Int, stride: Int
    ) { cvm_weighted_rows_f32(rows, factors, result, count, depth, stride) }
}

extension BFloat16: ComputedElement {
    static func exponentiate(
        _ scores: UnsafePointer<Float>, _ powers: UnsafeMutablePointer<BFloat16>, _ count: Int, scale: Float,
        _ row: inout cvm_softmax
    ) -> Float { cvm_exponentiate_bf16(scores, powers.words, count, scale, &row) }

    static func apply(
        _ function: Activation, _ source: UnsafePointer<BFloat16>, _ destination: UnsafeMutablePointer<BFloat16>,
        _ count: Int
    ) { cvm_apply_bf16(function.flat, source.words, destination.words, count) }

    static func affine(
        _ function: Activation?, _ source: UnsafePointer<BFloat16>, mean: UnsafePointer<Float>,
        scale: UnsafePointer<Float>, shift: UnsafePointer<Float>, _ destination: UnsafeMutablePointer<BFloat16>,
        _ count: Int
    ) {
        cvm_affine_bf16(
            function?.flat ?? CVM_IDENTITY, source.words, mean, scale, shift, destination.words, count)
    }

    static func gate(
        _ source: UnsafePointer<BFloat16>, _ gate: UnsafePointer<BFloat16>,
        _ destination: UnsafeMutablePointer<BFloat16>, _ count: Int
    ) { cvm_gate_bf16(source.words, gate.words, destination.words, count) }

    static func swiglu(
        _ gate: UnsafePointer<BFloat16>, _ source: UnsafePointer<BFloat16>,
        _ destination: UnsafeMutablePointer<BFloat16>, _ count: Int
    ) { cvm_swiglu_bf16(gate.words, source.words, destination.words, count) }

    static func columnSums(
        _ source: UnsafePointer<BFloat16>, _ sums: UnsafeMutablePointer<Float>, rows: Int, channels: Int
    ) { cvm_column_sums_bf16(source.words, sums, rows, channels) }

    static func columnDeviations(
        _ source: UnsafePointer<BFloat16>, _ means: UnsafePointer<Float>, _ sums: UnsafeMutablePointer<Float>,
        rows: Int, channels: Int
    ) { cvm_column_deviations_bf16(source.words, means, sums, rows, channels) }

    static func layerNorm(
        _ source: UnsafePointer<BFloat16>, weight: UnsafePointer<Float>, bias: UnsafePointer<Float>,
        _ destination: UnsafeMutablePointer<BFloat16>, _ count: Int, epsilon: Float
    ) { cvm_layer_norm_bf16(source.words, weight, bias, destination.words, count, epsilon) }

    static func rmsNorm(
        _ source: UnsafePointer<BFloat16>, weight: UnsafePointer<Float>, _ destination: UnsafeMutablePointer<BFloat16>,
        _ count: Int, epsilon: Float
    ) { cvm_rms_norm_bf16(source.words, weight, destination.words, count, epsilon) }

    static func rowProducts(
        _ matrix: UnsafePointer<BFloat16>, _ vectors: UnsafePointer<Float>, _ results: UnsafeMutablePointer<Float>,
        _ extents: cvm_row_extents
    ) { withUnsafePointer(to: extents) { cvm_row_products_bf16(matrix.words, vectors, results, $0) } }

    static func weightedRows(
        _ rows: UnsafePointer<BFloat16>, _ factors: UnsafePointer<Float>, _ result: UnsafeMutablePointer<Float>,
        count: Int, depth: Int, stride: Int
    ) { cvm_weighted_rows_bf16(rows.words, factors, result, count, depth, stride) }
}

extension Activation {
    fileprivate var flat: cvm_function {
        switch self {
        case .silu: CVM_SILU
        case .gelu: CVM_GELU
        case .quickGELU: CVM_QUICK_GELU
        case .relu: CVM_RELU
        case .tanh: CVM_TANH
        }
    }
}

extension UnsafePointer {
    /// The bit patterns of two-byte elements.
    var words: UnsafePointer<UInt16> { UnsafeRawPointer(self).assumingMemoryBound(to: UInt16.self) }
}

extension UnsafeMutablePointer {
    /// The bit patterns of two-byte elements.
    var words: UnsafeMutablePointer<UInt16> { UnsafeMutableRawPointer(self).assumingMemoryBound(to: UInt16.self) }
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

extension cvm_softmax {
    /// Before the first score of a row.
    static var empty: cvm_softmax { cvm_softmax(peak: -.infinity, sum: 0) }
}
