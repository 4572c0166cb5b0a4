import COneDNN
import CalderaGraph

extension StepBuilder {
    /// source [..., K] · weight [N, K]ᵀ with its epilogue.
    func matmul(_ node: Node, _ epilogue: Epilogue) throws -> Step {
        let source = node.inputs[0]
        let product = try ProductEpilogue(self, node, epilogue, residual: .operand)
        let (depth, columns) = (source.shape.channels, node.output.shape.channels)
        let rows = source.shape.count / depth / product.parts
        let key = MatmulKey(
            rows: rows, columns: columns, depth: depth, sourceStride: depth, destinationStride: columns,
            weightsStrides: plan.isIncremental ? .rowByRow(depth: depth) : nil, dtype: source.dtype,
            destinationType: node.output.dtype, epilogue: product.fused)
        let primitive = try engine.matmul(key, label: node.label)
        let weight = try weights.pack(node.inputs[1], .stored, for: primitive, node)
        let from = try address(source, label: node.label)
        let to = try destination(node.output, label: node.label)
        let executions = try (0..<product.parts).map { part in
            let outputOffset = part * rows * columns * node.output.dtype.size
            let operands = cdnn_operands(
                source: from + part * rows * depth * source.dtype.size, weights: nil, bias: product.vector(part),
                residual: product.residual.map { $0 + outputOffset }, destination: to + outputOffset, scratchpad: nil)
            return try execution(primitive, operands, weight: weight, label: node.label)
        }
        return {
            product.prepare()
            for execution in executions { try execution.run() }
        }
    }
}
