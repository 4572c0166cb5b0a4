import CVectorMath
import CalderaGraph

/// Copies `count` elements and changes their type on the way: through fp32, rounding to nearest even. Several threads.
func convert(
    _ source: UnsafeRawPointer, _ from: DType, to destination: UnsafeMutableRawPointer, _ dtype: DType, count: Int
) {
    if from == dtype {
        copyBytes(source, to: destination, count * dtype.size)
        return
    }
    if convertWide(source, from, to: destination, dtype, count) { return }
    switch from {
    case .float32: convert(source.assumingMemoryBound(to: Float.self), to: destination, dtype, count)
    case .float16: convert(source.assumingMemoryBound(to: Half.self), to: destination, dtype, count)
    case .bfloat16: convert(source.assumingMemoryBound(to: BFloat16.self), to: destination, dtype, count)
    case .int32: convert(source.assumingMemoryBound(to: Int32.self), to: destination, dtype, count)
    }
}

/// Copies bytes with several threads.
func copyBytes(_ source: UnsafeRawPointer, to destination: UnsafeMutableRawPointer, _ count: Int) {
    Parallel.ranges(count, grain: 1 << 18) { range in
        (destination + range.lowerBound).copyMemory(from: source + range.lowerBound, byteCount: range.count)
    }
}

/// The conversions that whole models pass through, on the widest registers. Returns false for all others.
private func convertWide(
    _ source: UnsafeRawPointer, _ from: DType, to destination: UnsafeMutableRawPointer, _ dtype: DType, _ count: Int
) -> Bool {
    let floats = (source.assumingMemoryBound(to: Float.self), destination.assumingMemoryBound(to: Float.self))
    let words = (source.assumingMemoryBound(to: UInt16.self), destination.assumingMemoryBound(to: UInt16.self))
    func each(_ body: (Int, Int) -> Void) { Parallel.elements(count) { body($0.lowerBound, $0.count) } }
    switch (from, dtype) {
    case (.float32, .bfloat16): each { cvm_bf16_from_f32(floats.0 + $0, words.1 + $0, $1) }
    case (.float32, .float16): each { cvm_f16_from_f32(floats.0 + $0, words.1 + $0, $1) }
    case (.bfloat16, .float32): each { cvm_f32_from_bf16(words.0 + $0, floats.1 + $0, $1) }
    case (.float16, .float32): each { cvm_f32_from_f16(words.0 + $0, floats.1 + $0, $1) }
    case (.float16, .bfloat16): each { cvm_bf16_from_f16(words.0 + $0, words.1 + $0, $1) }
    default: return false
    }
    return true
}

private func convert<S: Element>(
    _ source: UnsafePointer<S>, to destination: UnsafeMutableRawPointer, _ dtype: DType, _ count: Int
) {
    switch dtype {
    case .float32: convert(source, to: destination.assumingMemoryBound(to: Float.self), count)
    case .float16: convert(source, to: destination.assumingMemoryBound(to: Half.self), count)
    case .bfloat16: convert(source, to: destination.assumingMemoryBound(to: BFloat16.self), count)
    case .int32: convert(source, to: destination.assumingMemoryBound(to: Int32.self), count)
    }
}

private func convert<S: Element, D: Element>(
    _ source: UnsafePointer<S>, to destination: UnsafeMutablePointer<D>, _ count: Int
) {
    Parallel.elements(count) { range in
        mapLanes(source + range.lowerBound, destination + range.lowerBound, range.count) { _, _, lanes in lanes }
    }
}
