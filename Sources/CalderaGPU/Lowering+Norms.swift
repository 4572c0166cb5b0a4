import CalderaGraph

/// Mean and 1/√(variance + epsilon) of each group of channels of each picture of [batch, pixels, channels]: where they lie
/// in scratch memory, and in how many parts they are found.
struct GroupMoments {
    let batch: Int
    let pixels: Int
    let channels: Int
    let groups: Int
    let epsilon: Float

    /// As many parts of a group as make work for a large GPU, but none of fewer than 8192 elements.
    var parts: Int {
        max(1, min(64, pixels * channels / groups / 8192, divideUp(512, max(batch * groups, 1))))
    }

    private var resultBytes: Int { batch * groups * 2 * 4 }
    private var partialBytes: Int { parts == 1 ? 0 : batch * groups * parts * 3 * 4 }
    /// Of scratch memory.
    var bytes: Int { resultBytes + partialBytes }

    /// fp32 [batch · groups, 2].
    func result(in scratch: Operand) -> Operand { Operand(address: scratch.address, bytes: resultBytes) }

    /// fp32 [batch · groups, parts, 3]: count, mean and squared deviation of each part.
    func partial(in scratch: Operand) -> Operand {
        Operand(address: scratch.address + UInt64(resultBytes), bytes: partialBytes)
    }
}

/// What a group norm reads: one tensor, or two side by side in the channels.
struct NormSource {
    let first: Operand
    /// The channels of the first tensor.
    let split: Int
    var joined: Operand?

    var operands: [Operand] { [first] + (joined.map { [$0] } ?? []) }
    /// Behind a kernel's description.
    var ending: String { joined == nil ? "" : " of two sources" }
}

/// Group norm and layer norm.
extension Lowering {
    /// Moments of parts of each group, their merger where there are several parts, then scale, offset and activation.
    func groupNorm(_ node: Node, groups: Int, epsilon: Float, _ activation: Activation?) throws -> [Dispatch] {
        let (shape, dtype) = (node.output.shape, node.output.dtype)
        let (batch, channels) = (shape[0], shape.channels)
        let pixels = shape.count / max(batch * channels, 1)
        let source = NormSource(
            first: try operand(node.inputs[0]), split: node.inputs[0].shape.channels,
            joined: try node.joinedSource.map { try operand($0) })
        let moments = GroupMoments(batch: batch, pixels: pixels, channels: channels, groups: groups, epsilon: epsilon)
        let scratch = try memory.scratch(bytes: moments.bytes)
        let apply = try applyGroupNorm(
            node, source, moments.result(in: scratch), pixels: pixels, groups: groups, activation)
        return self.moments(moments, of: source, dtype, in: scratch) + [apply]
    }

    /// What finds the moments of `source`, at the start of `scratch`, which has room for them.
    func moments(_ moments: GroupMoments, of source: NormSource, _ dtype: DType, in scratch: Operand) -> [Dispatch] {
        let (parts, groups) = (moments.parts, moments.batch * moments.groups)
        let result = moments.result(in: scratch)
        let found = parts == 1 ? result : moments.partial(in: scratch)
        let measure = Dispatch(
            kernel: variant("group_norm_moments", dtype),
            constants: [UInt32(team(256)), (source.joined != nil).constant],
            push: PushConstants(
                [source.first, source.joined ?? .none, found],
                [moments.pixels, moments.channels, moments.groups, parts, moments.batch, moments.epsilon, source.split]),
            groups: groups * parts, reads: source.operands, writes: [found],
            detail: "\(moments.groups) groups, \(parts) part\(parts == 1 ? "" : "s")\(source.ending)")
        if parts == 1 { return [measure] }
        let merge = Dispatch(
            kernel: "group_norm_merge.FP32", constants: [64],
            push: PushConstants([found, result], [groups, parts, moments.epsilon]),
            groups: divideUp(groups, 64), reads: [found], writes: [result])
        return [measure, merge]
    }

    private func applyGroupNorm(
        _ node: Node, _ source: NormSource, _ moments: Operand, pixels: Int, groups: Int, _ activation: Activation?
    ) throws -> Dispatch {
        let (shape, dtype) = (node.output.shape, node.output.dtype)
        let weight = try operand(node.inputs[1], as: dtype)
        let bias = try operand(node.inputs[2], as: dtype)
        let result = try operand(node.output)
        let width = allowsFours(source.operands + [result], dtype, extents: [shape.channels, source.split]) ? 4 : 1
        // Long runs save loads of weights, short ones make more threads.
        let run = max(1, min(16, shape.count / width / 65_536))
        let threads = shape[0] * divideUp(pixels, run) * (shape.channels / width)
        return Dispatch(
            kernel: variant("group_norm_apply", dtype), constants: [256, UInt32(width), activation?.kernelCode ?? 0],
            push: PushConstants(
                [source.first, source.joined ?? .none, weight, bias, moments, result],
                [shape[0], pixels, shape.channels, groups, run, source.split]),
            groups: divideUp(threads, 256), reads: source.operands + [weight, bias, moments], writes: [result],
            detail: (activation?.rawValue ?? "") + source.ending)
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
