import CVectorMath
import CalderaGraph

/// Rotary positions, the cache of keys and values, and attention to it.
extension StepBuilder {
    /// Copies token t of sequence b to entry positions[b] + t of the cache.
    func writeCache(_ node: Node) throws -> Step {
        let (source, cache) = (node.inputs[0], node.output)
        let from = try address(source, label: node.label)
        let positions = try address(node.inputs[1], label: node.label).assumingMemoryBound(to: Int32.self)
        let to = try destination(cache, label: node.label)
        let (tokens, entries, size) = (source.shape[1], cache.shape[1], cache.shape[2] * cache.dtype.size)
        return {
            for batch in 0..<source.shape[0] {
                let first = Int(positions[batch])
                // What lies before the first entry or behind the last has no place.
                let kept = max(0, -first)..<max(max(0, -first), min(tokens, entries - first))
                (to + (batch * entries + first + kept.lowerBound) * size).copyMemory(
                    from: from + (batch * tokens + kept.lowerBound) * size, byteCount: kept.count * size)
            }
        }
    }

    /// Turns the pairs (i, i + d/2) of each head by the angles of the token's position.
    func rotary(_ node: Node, headSize: Int) throws -> Step {
        let (source, table, label) = (node.inputs[0], node.inputs[1], node.label)
        let from = try address(source, label: label)
        let angles = try address(table, label: label).assumingMemoryBound(to: Float.self)
        let positions = try address(node.inputs[2], label: label).assumingMemoryBound(to: Int32.self)
        let to = try destination(node.output, label: label)
        let (tokens, channels, half) = (source.shape[1], source.shape.channels, headSize / 2)
        func make<T: Element>(_: T.Type) -> Step {
            let (from, to) = (from.assumingMemoryBound(to: T.self), to.assumingMemoryBound(to: T.self))
            return {
                Parallel.rows(source.shape.rows, channels: channels) { range in
                    for row in range {
                        // Tokens behind the last position are never looked at.
                        let position = min(max(0, Int(positions[row / tokens]) + row % tokens), table.shape[0] - 1)
                        let cosines = angles + position * headSize
                        for start in stride(from: row * channels, to: (row + 1) * channels, by: headSize) {
                            turn(from + start, to + start, half, cosines: cosines, sines: cosines + half)
                        }
                    }
                }
            }
        }
        return try float(node.output.dtype, node, make(Float.self), make(BFloat16.self))
    }

    /// silu(gate) · value.
    func swiglu(_ node: Node) throws -> Step {
        let gate = try address(node.inputs[0], label: node.label)
        let value = try address(node.inputs[1], label: node.label)
        let to = try destination(node.output, label: node.label)
        let count = node.output.shape.count
        func make<T: ComputedElement>(_: T.Type) -> Step {
            let (gate, value) = (gate.assumingMemoryBound(to: T.self), value.assumingMemoryBound(to: T.self))
            let to = to.assumingMemoryBound(to: T.self)
            return {
                Parallel.elements(count) { range in
                    let start = range.lowerBound
                    T.swiglu(gate + start, value + start, to + start, range.count)
                }
            }
        }
        return try float(node.output.dtype, node, make(Float.self), make(BFloat16.self))
    }

    /// query [B, T, h·d] over the filled entries of keys and values [B, P, g·d], a token and a key head at a time.
    func cachedAttention(_ node: Node, _ attention: CachedAttention) throws -> Step {
        let kernel = try CachedAttentionKernel(self, node, attention)
        func make<T: ComputedElement>(_: T.Type) -> Step {
            { [scratch] in
                guard let base = scratch.base?.assumingMemoryBound(to: Float.self) else { return }
                kernel.run(T.self, scratch: base)
            }
        }
        return try float(node.output.dtype, node, make(Float.self), make(BFloat16.self))
    }
}

/// One head of one token.
private func turn<T: Element>(
    _ source: UnsafePointer<T>, _ destination: UnsafeMutablePointer<T>, _ half: Int, cosines: UnsafePointer<Float>,
    sines: UnsafePointer<Float>
) {
    for index in 0..<half {
        let (first, second) = (source[index].float, source[index + half].float)
        destination[index] = T(rounding: first * cosines[index] - second * sines[index])
        destination[index + half] = T(rounding: second * cosines[index] + first * sines[index])
    }
}

/// softmax(scale · q·kᵀ)·v in fp32. The heads that share a key head are computed together, so that its keys are read once.
private struct CachedAttentionKernel {
    private let attention: CachedAttention
    private let tokens: Int
    private let rows: Int
    private let entries: Int
    private let query: UnsafeRawPointer
    private let keys: UnsafeRawPointer
    private let values: UnsafeRawPointer
    private let positions: UnsafePointer<Int32>
    private let output: UnsafeMutableRawPointer

    init(_ builder: StepBuilder, _ node: Node, _ attention: CachedAttention) throws {
        self.attention = attention
        (rows, tokens, entries) = (node.inputs[0].shape.rows, node.inputs[0].shape[1], node.inputs[1].shape[1])
        query = try builder.address(node.inputs[0], label: node.label)
        keys = try builder.address(node.inputs[1], label: node.label)
        values = try builder.address(node.inputs[2], label: node.label)
        positions = try builder.address(node.inputs[3], label: node.label).assumingMemoryBound(to: Int32.self)
        output = try builder.destination(node.output, label: node.label)
        builder.scratch.reserve(Parallel.threads * scratchCount * MemoryLayout<Float>.size)
    }

    /// Heads that share a key head.
    private var group: Int { attention.heads / attention.keyHeads }
    /// Floats of a thread: the queries of a group, their scores, and a result.
    private var scratchCount: Int { group * attention.headSize + group * entries + attention.headSize }

    func run<T: ComputedElement>(_: T.Type, scratch: UnsafeMutablePointer<Float>) {
        Parallel.run(rows * attention.keyHeads) { thread, index in
            attend(
                T.self, row: index / attention.keyHeads, keyHead: index % attention.keyHeads,
                scratch + thread * scratchCount)
            return 0
        }
    }

    private func attend<T: ComputedElement>(
        _: T.Type, row: Int, keyHead: Int, _ scratch: UnsafeMutablePointer<Float>
    ) {
        let (size, batch) = (attention.headSize, row / tokens)
        let visible = min(entries, Int(positions[batch]) + row % tokens + 1)
        let channels = attention.keyHeads * size
        let start = (row * attention.heads + keyHead * group) * size
        let own = batch * entries * channels + keyHead * size
        let (scores, result) = (scratch + group * size, scratch + group * (size + entries))
        mapLanes(query.assumingMemoryBound(to: T.self) + start, scratch, group * size) { $2 }
        T.rowProducts(
            keys.assumingMemoryBound(to: T.self) + own, scratch, scores,
            cvm_row_extents(
                count: max(0, visible), depth: size, vectors: group, matrix_stride: channels, vector_stride: size,
                result_stride: entries))
        for head in 0..<group {
            let powers = scores + head * entries
            var softmax = cvm_softmax.empty
            _ = Float.exponentiate(powers, powers, max(0, visible), scale: attention.scale, &softmax)
            T.weightedRows(
                values.assumingMemoryBound(to: T.self) + own, powers, result, count: max(0, visible), depth: size,
                stride: channels)
            let factor = 1 / softmax.sum
            mapLanes(result, output.assumingMemoryBound(to: T.self) + start + head * size, size) { $2 * factor }
        }
    }
}
