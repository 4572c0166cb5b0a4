import COneDNN
import CalderaGraph

extension StepBuilder {
    /// source [..., K] · weight [N, K]ᵀ with its epilogue.
    func matmul(_ node: Node, _ epilogue: Epilogue) throws -> Step {
        if let joined = node.joinedSource { return try self.joined(node, joined, bias: epilogue.biasIndex) }
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

    /// The product of a source in two: that of the first, and to it, where it lies, that of the second.
    private func joined(_ node: Node, _ second: Tensor, bias: Int?) throws -> Step {
        let columns = node.output.shape.channels
        let bias = try bias.map { UnsafeRawPointer(try weights.vector(node.inputs[$0], label: node.label)) }
        let to = try destination(node.output, label: node.label)
        func product(_ source: Tensor, channels: Range<Int>, epilogue: FusedEpilogue) throws -> Execution {
            let key = MatmulKey(
                rows: source.shape.rows, columns: columns, depth: channels.count, sourceStride: channels.count,
                destinationStride: columns, dtype: source.dtype, destinationType: node.output.dtype, epilogue: epilogue)
            let primitive = try engine.matmul(key, label: node.label)
            let weight = try weights.pack(node.inputs[1], .channels(channels), for: primitive, node)
            let operands = cdnn_operands(
                source: try address(source, label: node.label), weights: nil, bias: epilogue.bias ? bias : nil,
                residual: nil, destination: to, scratchpad: nil)
            return try execution(primitive, operands, weight: weight, label: node.label)
        }
        let border = node.inputs[0].shape.channels
        let opening = try product(node.inputs[0], channels: 0..<border, epilogue: FusedEpilogue())
        let closing = try product(
            second, channels: border..<node.sourceChannels,
            epilogue: FusedEpilogue(bias: bias != nil, residual: .destination))
        return {
            try opening.run()
            try closing.run()
        }
    }
}
