import CalderaGraph

/// Copies `count` elements and changes their type on the way: through fp32, rounding to nearest even. Several threads.
func convert(
    _ source: UnsafeRawPointer, _ from: DType, to destination: UnsafeMutableRawPointer, _ dtype: DType, count: Int
) {
    if from == dtype {
        copyBytes(source, to: destination, count * dtype.size)
        return
    }
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
