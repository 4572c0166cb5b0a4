import COneDNN
import CalderaGraph

extension StepBuilder {
    /// Rows whose gates wait in scratch memory for their values: few enough to stay in the cache, many enough for oneDNN
    /// to read the weight seldom.
    private static let gatedRows = 512

    /// (source · values + bias) · gelu(source · gates + bias), with values the lower half of the weight's rows and gates
    /// the upper: two products, of which the second multiplies by what the first one left.
    func gatedProduct(_ node: Node, _ epilogue: Epilogue) throws -> Step {
        let rows = node.output.shape.rows
        let blocks = stride(from: 0, to: rows, by: StepBuilder.gatedRows).map {
            $0..<min($0 + StepBuilder.gatedRows, rows)
        }
        let pairs = try gatedPairs(node, epilogue, blocks.map(\.count))
        // The gates lie behind the largest scratchpad.
        let scratchpad = pairs.flatMap { [$0.gates, $0.values] }.map(\.scratchpadSize).max() ?? 0
        let offset = scratchpad.roundedUp(to: HostMemory.alignment)
        let (columns, depth, dtype) = (node.output.shape.channels, node.inputs[0].shape.channels, node.output.dtype)
        scratch.reserve(offset + (blocks.first?.count ?? 0) * columns * dtype.size)
        let bias = try epilogue.biasIndex.map { try weights.vector(node.inputs[$0], label: node.label) }
        let from = try address(node.inputs[0], label: node.label)
        let to = try destination(node.output, label: node.label)
        let executions = try zip(blocks, pairs).flatMap { block, pair in
            let weight = try weights.pack(node.inputs[1], .halves, for: pair.gates, node)
            var operands = cdnn_operands(
                source: from + block.lowerBound * depth * dtype.size, weights: nil, bias: bias.map { $0 + columns },
                residual: nil, destination: nil, scratchpad: nil)
            let gates = try execution(
                pair.gates, operands, weight: weight, part: 1, offsets: ScratchOffsets(destination: offset),
                label: node.label)
            operands.bias = bias.map { UnsafeRawPointer($0) }
            operands.destination = to + block.lowerBound * columns * dtype.size
            let values = try execution(
                pair.values, operands, weight: weight, part: 0, offsets: ScratchOffsets(factor: offset),
                label: node.label)
            return [gates, values]
        }
        return { for execution in executions { try execution.run() } }
    }

    private typealias GatedPair = (gates: Primitive, values: Primitive)

    /// The products for blocks of these numbers of rows. All read the same packed weight: where it streams, the first
    /// loads it, before gates take the scratch memory that loading uses.
    private func gatedPairs(_ node: Node, _ epilogue: Epilogue, _ rows: [Int]) throws -> [GatedPair] {
        func pairs(_ strides: MatmulKey.WeightsStrides?) throws -> [GatedPair] {
            try rows.map { rows in
                let gates = FusedEpilogue(bias: epilogue.bias, activation: .gelu)
                let values = FusedEpilogue(bias: epilogue.bias, hasFactor: true)
                return (
                    try engine.matmul(gatedKey(node, rows, gates, strides), label: node.label),
                    try engine.matmul(gatedKey(node, rows, values, strides), label: node.label)
                )
            }
        }
        let packed = try pairs(nil)
        let primitives = packed.flatMap { [$0.gates, $0.values] }
        if primitives.allSatisfy({ $0.hasSameWeightsLayout(as: primitives[0]) }) { return packed }
        // oneDNN would like several layouts: the file's own serves all.
        return try pairs(.rowByRow(depth: node.inputs[0].shape.channels))
    }

    private func gatedKey(
        _ node: Node, _ rows: Int, _ epilogue: FusedEpilogue, _ strides: MatmulKey.WeightsStrides?
    ) -> MatmulKey {
        let (columns, depth) = (node.output.shape.channels, node.inputs[0].shape.channels)
        return MatmulKey(
            rows: rows, columns: columns, depth: depth, sourceStride: depth, destinationStride: columns,
            weightsStrides: strides, dtype: node.inputs[0].dtype, destinationType: node.output.dtype,
            epilogue: epilogue)
    }
}
