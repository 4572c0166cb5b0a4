import CalderaGraph

/// Matrix products and convolutions: one family of kernels (Shaders/include/matrix.glsl).
extension Lowering {
    func matmul(_ node: Node, _ epilogue: Epilogue, _ at: NodeAddresses) -> KernelCall {
        matrix("gemm", node, epilogue, at, inner: node.inputs[0].shape.channels) { _ in }
    }

    func convolution(
        _ node: Node, _ convolution: Convolution, _ epilogue: Epilogue, _ at: NodeAddresses
    ) -> KernelCall {
        let source = node.inputs[0].shape
        let result = node.output.shape
        return matrix("conv", node, epilogue, at, inner: source.channels) { push in
            push.uint(source[1])
            push.uint(source[2])
            push.uint(convolution.enlarged?.height ?? source[1])
            push.uint(convolution.enlarged?.width ?? source[2])
            push.uint(result[1])
            push.uint(result[2])
            push.uint(convolution.kernelHeight)
            push.uint(convolution.kernelWidth)
            push.uint(convolution.stride)
            push.int(convolution.padding.top)
            push.int(convolution.padding.left)
        }
    }

    private func matrix(
        _ family: String, _ node: Node, _ epilogue: Epilogue, _ at: NodeAddresses, inner: Int,
        _ more: (inout PushConstants) -> Void
    ) -> KernelCall {
        let (rows, columns) = (node.output.shape.rows, node.output.shape.channels)
        let tile = choice.matrixTile(rows: rows, columns: columns)
        let extras = [epilogue.biasIndex, epilogue.rowBiasIndex, epilogue.residualIndex].map(at.input)
        var push = PushConstants()
        for range in [at.input(0), at.input(1), at.output] + extras { push.address(range.start) }
        push.uint(rows)
        push.uint(columns)
        push.uint(inner)
        let biasRows = epilogue.rowBiasIndex.map { node.inputs[$0].shape.rows } ?? 1
        push.uint(rows / biasRows)
        more(&push)
        let size = node.output.dtype.size
        let vectorInner = inner % 4 == 0 && [at.input(0), at.input(1)].allSatisfy { $0.isAligned(to: 4 * size) }
        let vectorColumns = columns % 4 == 0 && ([at.output] + extras).allSatisfy { $0.isAligned(to: 4 * size) }
        let flags: [UInt32] = [
            vectorInner.code, vectorColumns.code, epilogue.bias.code, epilogue.rowBias.code,
            epilogue.activation.kernelCode, epilogue.residual.code,
        ]
        return KernelCall(
            shader: "\(family)\(tile.core).\(Lowering.build(node.output.dtype))", constants: tile.constants + flags,
            push: push, groups: (rows + tile.rows - 1) / tile.rows * ((columns + tile.columns - 1) / tile.columns),
            reads: at.inputs, writes: [at.output], detail: "\(tile.rows)x\(tile.columns) \(epilogue.summary)")
    }
}

extension Epilogue {
    /// "bias+silu+residual".
    var summary: String {
        [bias ? "bias" : nil, rowBias ? "row_bias" : nil, activation?.rawValue, residual ? "residual" : nil]
            .compactMap { $0 }.joined(separator: "+")
    }
}

extension Bool {
    /// A specialisation constant.
    var code: UInt32 { self ? 1 : 0 }
}

extension ByteRange {
    func isAligned(to size: Int) -> Bool { start % UInt64(size) == 0 }
}
