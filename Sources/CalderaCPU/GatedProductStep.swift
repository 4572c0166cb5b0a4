import COneDNN
import CalderaGraph

extension StepBuilder {
    /// (source · values + bias) · gelu(source · gates + bias), with values the lower half of the weight's rows and gates
    /// the upper.
    func gatedProduct(_ node: Node, _ epilogue: Epilogue) throws -> Step {
        let product = try GatedProduct(self, node, epilogue)
        return { [scratch] in
            // Before the gates take the scratch memory that loading uses.
            try product.weight.load()
            guard let base = scratch.base else { return }
            try OneDNNEngine.check(product.run(scratch: base), "The layer \(node.label)")
        }
    }
}

/// Two products, of which the second multiplies its results by what the first left in scratch memory.
///
/// oneDNN's gelu takes erf from Abramowitz and Stegun 7.1.26, whose absolute error is below 1.5e-7.
///
/// Where there are rows enough, each thread makes blocks of them by itself, so that the gates of a block are still in its
/// cache when their values come, and the threads wait for each other but once: where something else runs on one of the
/// cores, each wait may last for milliseconds.
private struct GatedProduct {
    let weight: PackedWeight
    private let node: Node
    private let blockRows: Int
    private let blocks: Int
    private let source: UnsafeRawPointer
    private let bias: UnsafePointer<Float>?
    private let output: UnsafeMutableRawPointer
    /// For each thread, those of a whole block and those of the last.
    private let executions: [[Pair<Execution>]]
    /// A thread's scratch memory: bytes of it, and where in it the gates lie, behind the scratchpad.
    private let scratchSize: Int
    private let gatesOffset: Int

    private struct Pair<Element> {
        let gates: Element
        let values: Element
        var both: [Element] { [gates, values] }
    }

    /// Rows of a block: few enough for the cache, many enough not to read the weight too often.
    private static let blockRows = 256

    init(_ builder: StepBuilder, _ node: Node, _ epilogue: Epilogue) throws {
        self.node = node
        let (rows, columns, threads) = (node.output.shape.rows, node.output.shape.channels, Parallel.threads)
        // As many blocks for one thread as for the next; several, since each thread reads the whole weight for them.
        let share = GatedProduct.blockRows * threads
        let isDivided = rows >= 2 * share
        blockRows = isDivided ? divideUp(rows, threads * divideUp(rows, share)) : rows
        blocks = divideUp(rows, blockRows)
        let primitives = try GatedProduct.primitives(
            builder, node, epilogue, rows: [blockRows, rows - (blocks - 1) * blockRows], isSingleThreaded: isDivided)
        weight = try builder.weights.pack(node.inputs[1], .halves, for: primitives[0].gates, node)
        executions = try (0..<(isDivided ? threads : 1)).map { _ in
            try primitives.map { pair in
                Pair(
                    gates: try Execution(pair.gates, cdnn_operands(), label: node.label),
                    values: try Execution(pair.values, cdnn_operands(), label: node.label))
            }
        }
        bias = try epilogue.biasIndex.map { try builder.weights.vector(node.inputs[$0], label: node.label) }
        source = try builder.address(node.inputs[0], label: node.label)
        output = try builder.destination(node.output, label: node.label)
        let scratchpad = primitives.flatMap(\.both).map(\.scratchpadSize).max() ?? 0
        gatesOffset = scratchpad.roundedUp(to: HostMemory.alignment)
        scratchSize = (gatesOffset + blockRows * columns * node.output.dtype.size).roundedUp(to: HostMemory.alignment)
        builder.scratch.reserve(scratchSize * executions.count)
    }

    /// The products of so many rows; all read the weight in the same layout.
    private static func primitives(
        _ builder: StepBuilder, _ node: Node, _ epilogue: Epilogue, rows: [Int], isSingleThreaded: Bool
    ) throws -> [Pair<Primitive>] {
        let (columns, depth) = (node.output.shape.channels, node.inputs[0].shape.channels)
        func primitive(_ rows: Int, _ strides: MatmulKey.WeightsStrides?, _ fused: FusedEpilogue) throws -> Primitive {
            let key = MatmulKey(
                rows: rows, columns: columns, depth: depth, sourceStride: depth, destinationStride: columns,
                weightsStrides: strides, dtype: node.inputs[0].dtype, destinationType: node.output.dtype,
                epilogue: fused, isSingleThreaded: isSingleThreaded)
            return try builder.engine.matmul(key, label: node.label)
        }
        func pairs(_ strides: MatmulKey.WeightsStrides?) throws -> [Pair<Primitive>] {
            try rows.map {
                Pair(
                    gates: try primitive($0, strides, FusedEpilogue(bias: epilogue.bias, activation: .gelu)),
                    values: try primitive($0, strides, FusedEpilogue(bias: epilogue.bias, hasFactor: true)))
            }
        }
        let packed = try pairs(nil)
        if packed.flatMap(\.both).allSatisfy({ $0.hasSameWeightsLayout(as: packed[0].gates) }) { return packed }
        // oneDNN would like several layouts: the file's own serves all.
        return try pairs(.rowByRow(depth: depth))
    }

    /// Makes every block; `scratch` is the base of all threads' scratch. Returns oneDNN's status.
    func run(scratch: UnsafeMutableRawPointer) -> Int32 {
        if executions.count == 1 { return (0..<blocks).lazy.map { block($0, 0, scratch) }.first { $0 != 0 } ?? 0 }
        return Parallel.run(blocks) { thread, index in block(index, thread, scratch + thread * scratchSize) }
    }

    private func block(_ index: Int, _ thread: Int, _ scratch: UnsafeMutableRawPointer) -> Int32 {
        let pair = executions[thread][index == blocks - 1 ? 1 : 0]
        let (columns, size) = (node.output.shape.channels, node.output.dtype.size)
        let first = index * blockRows
        var operands = cdnn_operands(
            source: source + first * node.inputs[0].shape.channels * size, weights: weight.address(ofPart: 1),
            bias: bias.map { $0 + columns }, residual: nil, destination: scratch + gatesOffset, scratchpad: scratch)
        let status = pair.gates.run(operands)
        if status != 0 { return status }
        operands.weights = weight.address
        operands.bias = bias.map { UnsafeRawPointer($0) }
        operands.factor = UnsafeRawPointer(scratch + gatesOffset)
        operands.destination = output + first * columns * size
        return pair.values.run(operands)
    }
}

private func divideUp(_ left: Int, _ right: Int) -> Int { (left + right - 1) / right }
