import CalderaGraph

/// Group norm and layer norm.
extension Lowering {
    /// Moments of parts of each group, their merger where there are several parts, then scale, offset and activation.
    func groupNorm(_ node: Node, groups: Int, epsilon: Float, _ activation: Activation?) throws -> [Dispatch] {
        let (shape, dtype) = (node.output.shape, node.output.dtype)
        let (batch, channels) = (shape[0], shape.channels)
        let pixels = shape.count / max(batch * channels, 1)
        let source = try operand(node.inputs[0])
        let parts = Lowering.parts(of: pixels * channels / groups, beside: batch * groups)
        let momentsBytes = batch * groups * 2 * 4
        let partsBytes = parts == 1 ? 0 : batch * groups * parts * 3 * 4
        let scratch = try memory.scratch(bytes: momentsBytes + partsBytes)
        let moments = Operand(address: scratch.address, bytes: momentsBytes)
        let partMoments = Operand(address: scratch.address + UInt64(momentsBytes), bytes: partsBytes)

        let found = parts == 1 ? moments : partMoments
        var dispatches = [
            Dispatch(
                kernel: variant("group_norm_moments", dtype), constants: [UInt32(team(256))],
                push: PushConstants([source, found], [pixels, channels, groups, parts, batch, epsilon]),
                groups: batch * groups * parts, reads: [source], writes: [found],
                detail: "\(groups) groups, \(parts) part\(parts == 1 ? "" : "s")")
        ]
        if parts > 1 {
            dispatches.append(
                Dispatch(
                    kernel: "group_norm_merge.FP32", constants: [64],
                    push: PushConstants([partMoments, moments], [batch * groups, parts, epsilon]),
                    groups: divideUp(batch * groups, 64), reads: [partMoments], writes: [moments]))
        }
        dispatches.append(try applyGroupNorm(node, source, moments, pixels: pixels, groups: groups, activation))
        return dispatches
    }

    /// As many parts of a group as make work for a large GPU, but none of fewer than 8192 elements.
    private static func parts(of elements: Int, beside groups: Int) -> Int {
        max(1, min(64, elements / 8192, divideUp(512, max(groups, 1))))
    }

    private func applyGroupNorm(
        _ node: Node, _ source: Operand, _ moments: Operand, pixels: Int, groups: Int, _ activation: Activation?
    ) throws -> Dispatch {
        let (shape, dtype) = (node.output.shape, node.output.dtype)
        let weight = try operand(node.inputs[1], as: dtype)
        let bias = try operand(node.inputs[2], as: dtype)
        let result = try operand(node.output)
        let width = allowsFours([source, result], dtype, extents: [shape.channels]) ? 4 : 1
        // Long runs save loads of weights, short ones make more threads.
        let run = max(1, min(16, shape.count / width / 65_536))
        let threads = shape[0] * divideUp(pixels, run) * (shape.channels / width)
        return Dispatch(
            kernel: variant("group_norm_apply", dtype), constants: [256, UInt32(width), activation?.kernelCode ?? 0],
            push: PushConstants(
                [source, weight, bias, moments, result], [shape[0], pixels, shape.channels, groups, run]),
            groups: divideUp(threads, 256), reads: [source, weight, bias, moments], writes: [result],
            detail: activation?.rawValue ?? "")
    }

    func layerNorm(_ node: Node, epsilon: Float) throws -> Dispatch {
        let (shape, dtype) = (node.output.shape, node.output.dtype)
        let operands = [
            try operand(node.inputs[0]), try operand(node.inputs[1], as: dtype), try operand(node.inputs[2], as: dtype),
        ]
        let result = try operand(node.output)
        return Dispatch(
            kernel: variant("layer_norm", dtype), constants: [UInt32(team(128))],
            push: PushConstants(operands + [result], [shape.rows, shape.channels, epsilon]), groups: shape.rows,
            reads: operands, writes: [result])
    }
}
