import COneDNN
import CVectorMath
import CalderaGraph

extension StepBuilder {
    /// query [B, T, h·d], key and value [B, S, h·d] -> [B, T, h·d], a tile of query rows by a block of keys at a
    /// time: their scores are the only ones that ever exist.
    func attention(_ node: Node, _ attention: Attention) throws -> Step {
        let kernel = try AttentionKernel(self, node, attention)
        let label = node.label
        func make<T: ComputedElement>(_: T.Type) -> Step {
            { [scratch] in
                guard let base = scratch.base else { return }
                try OneDNNEngine.check(kernel.run(T.self, scratch: base), "The layer \(label)")
            }
        }
        return try float(node.output.dtype, node, make(Float.self), make(BFloat16.self))
    }
}

/// The extents of an attention, how it is cut into tiles, and the two products of a tile.
struct AttentionShape {
    let heads: Int
    let headSize: Int
    let batch: Int
    let queries: Int
    let keys: Int
    let dtype: DType
    /// Query rows of a tile.
    let tileRows: Int
    /// Keys of a block: few enough for a tile's scores to stay in a core's caches.
    let blockKeys: Int

    init(_ node: Node, _ attention: Attention) {
        let (query, key) = (node.inputs[0], node.inputs[1])
        heads = attention.heads
        headSize = attention.headSize
        batch = query.shape[0]
        queries = query.shape[1]
        keys = key.shape[1]
        dtype = query.dtype
        tileRows = min(queries, 256)
        blockKeys = min(keys, 1024)
    }

    var channels: Int { heads * headSize }
    var tiles: Int { (queries + tileRows - 1) / tileRows }
    /// The heights that tiles have: the last one may be lower than the others.
    var heights: [Int] { queries % tileRows == 0 ? [tileRows] : [tileRows, queries % tileRows] }

    var blocks: Int { (keys + blockKeys - 1) / blockKeys }

    /// Keys of a block: the last one may have fewer than the others.
    func width(_ block: Int) -> Int { min(blockKeys, keys - block * blockKeys) }

    /// Scores [rows, width] in fp32: query rows times the transposed keys of one head.
    func scores(rows: Int, width: Int) -> MatmulKey {
        MatmulKey(
            rows: rows, columns: width, depth: headSize, sourceStride: channels, destinationStride: blockKeys,
            weightsStrides: MatmulKey.WeightsStrides(depth: 1, column: channels), dtype: dtype,
            destinationType: .float32, isSingleThreaded: true)
    }

    /// Result [rows, headSize] in fp32: probabilities times the values of one head, added to what is there for all
    /// blocks but the first.
    func result(rows: Int, width: Int, isFirst: Bool) -> MatmulKey {
        MatmulKey(
            rows: rows, columns: headSize, depth: width, sourceStride: blockKeys, destinationStride: headSize,
            weightsStrides: MatmulKey.WeightsStrides(depth: channels, column: 1), dtype: dtype,
            destinationType: .float32, epilogue: FusedEpilogue(residual: isFirst ? nil : .destination),
            isSingleThreaded: true)
    }
}

/// A thread's scratch memory, as offsets in bytes.
private struct AttentionScratch {
    /// In the element type; fp32 probabilities take the scores' place.
    let probabilities: Int
    let result: Int
    /// Each row's `cvm_softmax`.
    let rows: Int
    let scratchpad: Int
    let size: Int

    init(_ shape: AttentionShape, scratchpadSize: Int) {
        let unit = HostMemory.alignment
        let scoreCount = shape.tileRows * shape.blockKeys
        probabilities = shape.dtype == .float32 ? 0 : (scoreCount * 4).roundedUp(to: unit)
        result = probabilities + (scoreCount * shape.dtype.size).roundedUp(to: unit)
        rows = result + (shape.tileRows * shape.headSize * 4).roundedUp(to: unit)
        scratchpad = rows + (shape.tileRows * MemoryLayout<cvm_softmax>.stride).roundedUp(to: unit)
        size = scratchpad + scratchpadSize.roundedUp(to: unit)
    }
}

/// softmax(scale · q·kᵀ)·v for each head. Products run on oneDNN inside the team, one tile to a thread, with heads read
/// by stride; the softmax is computed in fp32, and its division comes last, on the tile's result. From one block of
/// keys to the next a row's largest score may grow; what was computed with the one before is then rescaled (Dao, Fu,
/// Ermon, Rudra and Ré, "FlashAttention", 2022, algorithm 1).
private final class AttentionKernel {
    private let shape: AttentionShape
    private let layout: AttentionScratch
    private let causal: Bool
    private let scale: Float
    private let query: UnsafeRawPointer
    private let key: UnsafeRawPointer
    private let value: UnsafeRawPointer
    private let output: UnsafeMutableRawPointer
    /// By thread, then as `AttentionShape.heights`.
    private let products: [[TileProducts]]

    init(_ builder: StepBuilder, _ node: Node, _ attention: Attention) throws {
        let shape = AttentionShape(node, attention)
        self.shape = shape
        causal = attention.causal
        scale = attention.scale
        query = try builder.address(node.inputs[0], label: node.label)
        key = try builder.address(node.inputs[1], label: node.label)
        value = try builder.address(node.inputs[2], label: node.label)
        output = try builder.destination(node.output, label: node.label)
        products = try (0..<Parallel.threads).map { _ in
            try shape.heights.map { try TileProducts(shape, rows: $0, builder.engine, label: node.label) }
        }
        layout = AttentionScratch(shape, scratchpadSize: products[0].map(\.scratchpadSize).max() ?? 0)
        builder.scratch.reserve(layout.size * Parallel.threads)
    }

    /// Computes every tile; `scratch` is the base of all threads' scratch. Returns oneDNN's status.
    func run<T: ComputedElement>(_: T.Type, scratch: UnsafeMutableRawPointer) -> Int32 {
        Parallel.run(shape.batch * shape.heads * shape.tiles) { thread, index in
            tile(T.self, index, products[thread], scratch + thread * layout.size)
        }
    }

    /// Tiles are numbered by batch, then head, then rows.
    private func tile<T: ComputedElement>(
        _: T.Type, _ index: Int, _ products: [TileProducts], _ scratch: UnsafeMutableRawPointer
    ) -> Int32 {
        let (sequence, head) = (index / (shape.tiles * shape.heads), index / shape.tiles % shape.heads)
        let first = index % shape.tiles * shape.tileRows
        let rows = first..<min(first + shape.tileRows, shape.queries)
        let own = rows.count == shape.tileRows ? products[0] : products[1]
        let headOffset = head * shape.headSize
        let queryOffset = ((sequence * shape.queries + first) * shape.channels + headOffset) * MemoryLayout<T>.stride
        let keyOffset = (sequence * shape.keys * shape.channels + headOffset) * MemoryLayout<T>.stride
        let softmaxes = (scratch + layout.rows).assumingMemoryBound(to: cvm_softmax.self)
        softmaxes.update(repeating: .empty, count: rows.count)
        let result = (scratch + layout.result).assumingMemoryBound(to: Float.self)
        // Behind the last row of a causal tile no key is visible.
        let visible = causal ? min(shape.keys, rows.upperBound) : shape.keys
        for block in 0..<(visible + shape.blockKeys - 1) / shape.blockKeys {
            let blockOffset = keyOffset + block * shape.blockKeys * shape.channels * MemoryLayout<T>.stride
            let pair = own[block]
            var status = pair.scores.run(
                cdnn_operands(
                    source: query + queryOffset, weights: key + blockOffset, bias: nil, residual: nil,
                    destination: scratch, scratchpad: scratch + layout.scratchpad))
            if status != 0 { return status }
            exponentiate(T.self, block, rows, scratch, softmaxes, result)
            status = pair.result.run(
                cdnn_operands(
                    source: scratch + layout.probabilities, weights: value + blockOffset, bias: nil, residual: nil,
                    destination: result, scratchpad: scratch + layout.scratchpad))
            if status != 0 { return status }
        }
        divide(
            result, by: softmaxes, rows: rows.count, to: (output + queryOffset).assumingMemoryBound(to: T.self))
        return 0
    }

    /// Turns a block's scores into probabilities, before the division, and rescales the results of the blocks before.
    private func exponentiate<T: ComputedElement>(
        _: T.Type, _ block: Int, _ rows: Range<Int>, _ scratch: UnsafeMutableRawPointer,
        _ softmaxes: UnsafeMutablePointer<cvm_softmax>, _ result: UnsafeMutablePointer<Float>
    ) {
        let scores = scratch.assumingMemoryBound(to: Float.self)
        let probabilities = (scratch + layout.probabilities).assumingMemoryBound(to: T.self)
        let width = shape.width(block)
        for (index, row) in rows.enumerated() {
            let own = probabilities + index * shape.blockKeys
            let visible = causal ? max(0, min(width, row + 1 - block * shape.blockKeys)) : width
            let factor = T.exponentiate(
                scores + index * shape.blockKeys, own, visible, scale: scale, &softmaxes[index])
            (own + visible).update(repeating: T(rounding: 0), count: width - visible)
            if block == 0 || factor == 1 { continue }
            let values = result + index * shape.headSize
            mapLanes(values, values, shape.headSize) { $2 * factor }
        }
    }

    /// Writes each row over its sum into the output, whose rows are `channels` apart.
    private func divide<T: Element>(
        _ values: UnsafePointer<Float>, by softmaxes: UnsafePointer<cvm_softmax>, rows: Int,
        to output: UnsafeMutablePointer<T>
    ) {
        for row in 0..<rows {
            let factor = 1 / softmaxes[row].sum
            mapLanes(values + row * shape.headSize, output + row * shape.channels, shape.headSize) { $2 * factor }
        }
    }
}

/// The two products of a tile of some height, bound to one thread's memory as they run.
private struct TileProducts {
    typealias Pair = (scores: Execution, result: Execution)

    let scratchpadSize: Int
    private let first: Pair
    /// Those between the first block and the last.
    private let middle: Pair?
    private let last: Pair?
    private let blocks: Int

    init(_ shape: AttentionShape, rows: Int, _ engine: OneDNNEngine, label: String) throws {
        var size = 0
        func pair(_ block: Int) throws -> Pair {
            let scores = try engine.matmul(shape.scores(rows: rows, width: shape.width(block)), label: label)
            let result = try engine.matmul(
                shape.result(rows: rows, width: shape.width(block), isFirst: block == 0), label: label)
            size = max(size, scores.scratchpadSize, result.scratchpadSize)
            return (
                scores: try Execution(scores, cdnn_operands(), label: label),
                result: try Execution(result, cdnn_operands(), label: label)
            )
        }
        blocks = shape.blocks
        first = try pair(0)
        middle = blocks > 2 ? try pair(1) : nil
        last = blocks > 1 ? try pair(blocks - 1) : nil
        scratchpadSize = size
    }

    subscript(block: Int) -> Pair {
        if block == 0 { return first }
        return (block == blocks - 1 ? last : middle) ?? first
    }
}
