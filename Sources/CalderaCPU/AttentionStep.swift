import COneDNN
import CalderaGraph

extension StepBuilder {
    /// query [B, T, h·d], key and value [B, S, h·d] -> [B, T, h·d], a tile of query rows at a time: a tile's scores
    /// are the only ones that ever exist.
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
    /// Query rows of a tile: few enough for its scores to stay in a core's second-level cache.
    let tileRows: Int

    private static let tileScores = 1 << 18

    init(_ node: Node, _ attention: Attention) {
        let (query, key) = (node.inputs[0], node.inputs[1])
        heads = attention.heads
        headSize = attention.headSize
        batch = query.shape[0]
        queries = query.shape[1]
        keys = key.shape[1]
        dtype = query.dtype
        tileRows = min(queries, max(64, min(256, AttentionShape.tileScores / keys)))
    }

    var channels: Int { heads * headSize }
    var tiles: Int { (queries + tileRows - 1) / tileRows }
    /// The heights that tiles have: the last one may be lower than the others.
    var heights: [Int] { queries % tileRows == 0 ? [tileRows] : [tileRows, queries % tileRows] }

    /// Scores [rows, keys] in fp32: query rows times the transposed keys of one head.
    func scores(rows: Int) -> MatmulKey {
        MatmulKey(
            rows: rows, columns: keys, depth: headSize, sourceStride: channels, destinationStride: keys,
            weightsStrides: MatmulKey.WeightsStrides(depth: 1, column: channels), dtype: dtype,
            destinationType: .float32, isSingleThreaded: true)
    }

    /// Result [rows, headSize] in fp32: probabilities times the values of one head.
    func result(rows: Int) -> MatmulKey {
        MatmulKey(
            rows: rows, columns: headSize, depth: keys, sourceStride: keys, destinationStride: headSize,
            weightsStrides: MatmulKey.WeightsStrides(depth: channels, column: 1), dtype: dtype,
            destinationType: .float32, isSingleThreaded: true)
    }
}

/// A thread's scratch memory, as offsets in bytes.
private struct AttentionScratch {
    /// In the element type; fp32 probabilities take the scores' place.
    let probabilities: Int
    let result: Int
    let sums: Int
    let scratchpad: Int
    let size: Int

    init(_ shape: AttentionShape, scratchpadSize: Int) {
        let unit = HostMemory.alignment
        let scoreCount = shape.tileRows * shape.keys
        probabilities = shape.dtype == .float32 ? 0 : (scoreCount * 4).roundedUp(to: unit)
        result = probabilities + (scoreCount * shape.dtype.size).roundedUp(to: unit)
        sums = result + (shape.tileRows * shape.headSize * 4).roundedUp(to: unit)
        scratchpad = sums + (shape.tileRows * 4).roundedUp(to: unit)
        size = scratchpad + scratchpadSize.roundedUp(to: unit)
    }
}

/// softmax(scale · q·kᵀ)·v for each head. Products run on oneDNN inside the team, one tile to a thread, with heads read
/// by stride; the softmax is computed in fp32, and its division comes last, on the tile's result.
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
    private let products: [[(scores: Execution, result: Execution)]]

    init(_ builder: StepBuilder, _ node: Node, _ attention: Attention) throws {
        let shape = AttentionShape(node, attention)
        self.shape = shape
        causal = attention.causal
        scale = attention.scale
        query = try builder.address(node.inputs[0], label: node.label)
        key = try builder.address(node.inputs[1], label: node.label)
        value = try builder.address(node.inputs[2], label: node.label)
        output = try builder.destination(node.output, label: node.label)
        let primitives = try shape.heights.map { rows in
            (
                scores: try builder.engine.matmul(shape.scores(rows: rows), label: node.label),
                result: try builder.engine.matmul(shape.result(rows: rows), label: node.label)
            )
        }
        let own = primitives.map { max($0.scores.scratchpadSize, $0.result.scratchpadSize) }.max() ?? 0
        layout = AttentionScratch(shape, scratchpadSize: own)
        products = try (0..<Parallel.threads).map { _ in
            try primitives.map { pair in
                (
                    scores: try Execution(pair.scores, cdnn_operands(), label: node.label),
                    result: try Execution(pair.result, cdnn_operands(), label: node.label)
                )
            }
        }
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
        _: T.Type, _ index: Int, _ products: [(scores: Execution, result: Execution)],
        _ scratch: UnsafeMutableRawPointer
    ) -> Int32 {
        let (sequence, head) = (index / (shape.tiles * shape.heads), index / shape.tiles % shape.heads)
        let first = index % shape.tiles * shape.tileRows
        let rows = min(shape.tileRows, shape.queries - first)
        let (scores, result) = rows == shape.tileRows ? products[0] : products[1]
        let headOffset = head * shape.headSize
        let queryOffset = ((sequence * shape.queries + first) * shape.channels + headOffset) * MemoryLayout<T>.stride
        let keyOffset = (sequence * shape.keys * shape.channels + headOffset) * MemoryLayout<T>.stride
        let scratchpad = scratch + layout.scratchpad

        var status = scores.run(
            cdnn_operands(
                source: query + queryOffset, weights: key + keyOffset, bias: nil, residual: nil, destination: scratch,
                scratchpad: scratchpad))
        if status != 0 { return status }
        let sums = (scratch + layout.sums).assumingMemoryBound(to: Float.self)
        let probabilities = (scratch + layout.probabilities).assumingMemoryBound(to: T.self)
        for row in 0..<rows {
            let own = probabilities + row * shape.keys
            let visible = causal ? min(shape.keys, first + row + 1) : shape.keys
            sums[row] = T.exponentiate(
                scratch.assumingMemoryBound(to: Float.self) + row * shape.keys, own, visible, scale: scale)
            (own + visible).update(repeating: T(rounding: 0), count: shape.keys - visible)
        }
        let values = scratch + layout.result
        status = result.run(
            cdnn_operands(
                source: probabilities, weights: value + keyOffset, bias: nil, residual: nil, destination: values,
                scratchpad: scratchpad))
        if status != 0 { return status }
        divide(
            values.assumingMemoryBound(to: Float.self), by: sums, rows: rows,
            to: (output + queryOffset).assumingMemoryBound(to: T.self))
        return 0
    }

    /// Writes each row over its sum into the output, whose rows are `channels` apart.
    private func divide<T: Element>(
        _ values: UnsafePointer<Float>, by sums: UnsafePointer<Float>, rows: Int, to output: UnsafeMutablePointer<T>
    ) {
        for row in 0..<rows {
            let factor = 1 / sums[row]
            mapLanes(values + row * shape.headSize, output + row * shape.channels, shape.headSize) { $2 * factor }
        }
    }
}
