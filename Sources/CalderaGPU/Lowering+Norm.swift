import CalderaGraph

/// Norms and attention.
extension Lowering {
    /// Moments of each part of each group, their merger where there are several parts, then the affine map and the
    /// activation.
    func groupNorm(
        _ node: Node, groups: Int, epsilon: Float, activation: Activation?, _ at: NodeAddresses
    ) -> [KernelCall] {
        let extent = GroupExtent(node, groups: groups, choice)
        let parts = ByteRange(start: scratch?.sums.start ?? 0, count: extent.partsSize)
        let moments = ByteRange(start: parts.end, count: extent.momentsSize)
        let isWhole = extent.parts == 1
        var calls = [momentsCall(node, extent, epsilon, at, to: isWhole ? moments : parts)]
        if !isWhole { calls.append(mergeCall(extent, epsilon, from: parts, to: moments)) }
        return calls + [applyCall(node, extent, activation, at, moments)]
    }

    /// Bytes of scratch memory that a node needs.
    func scratchSize(_ node: Node) -> Int {
        guard case .groupNorm(let groups, _, _) = node.op else { return 0 }
        let extent = GroupExtent(node, groups: groups, choice)
        return extent.partsSize + extent.momentsSize
    }

    private func momentsCall(
        _ node: Node, _ extent: GroupExtent, _ epsilon: Float, _ at: NodeAddresses, to result: ByteRange
    ) -> KernelCall {
        var push = PushConstants()
        push.address(at.input(0).start)
        push.address(result.start)
        for number in [extent.pixels, extent.channels, extent.groups, extent.parts, extent.batch] { push.uint(number) }
        push.float(epsilon)
        return KernelCall(
            shader: "group_norm_moments.\(Lowering.build(node.output.dtype))",
            constants: [UInt32(choice.reductionThreads)], push: push,
            groups: extent.batch * extent.groups * extent.parts, reads: [at.input(0)], writes: [result],
            detail: "\(extent.parts) parts")
    }

    private func mergeCall(
        _ extent: GroupExtent, _ epsilon: Float, from parts: ByteRange, to moments: ByteRange
    ) -> KernelCall {
        let (groups, threads) = (extent.batch * extent.groups, 64)
        var push = PushConstants()
        push.address(parts.start)
        push.address(moments.start)
        push.uint(groups)
        push.uint(extent.parts)
        push.float(epsilon)
        return KernelCall(
            shader: "group_norm_merge.FP32", constants: [UInt32(threads)], push: push,
            groups: (groups + threads - 1) / threads, reads: [parts], writes: [moments], detail: "")
    }

    private func applyCall(
        _ node: Node, _ extent: GroupExtent, _ activation: Activation?, _ at: NodeAddresses, _ moments: ByteRange
    ) -> KernelCall {
        let size = node.output.dtype.size
        let width =
            extent.channels % 4 == 0 && (at.inputs + [at.output]).allSatisfy { $0.isAligned(to: 4 * size) } ? 4 : 1
        let run = choice.groupNormRun(pixels: extent.pixels)
        let invocations = extent.batch * extent.channels / width * ((extent.pixels + run - 1) / run)
        let threads = choice.elementThreads
        var push = PushConstants()
        for range in [at.input(0), at.input(1), at.input(2), moments, at.output] { push.address(range.start) }
        for number in [extent.batch, extent.pixels, extent.channels, extent.groups, run] { push.uint(number) }
        return KernelCall(
            shader: "group_norm_apply.\(Lowering.build(node.output.dtype))",
            constants: [UInt32(threads), UInt32(width), activation.kernelCode], push: push,
            groups: (invocations + threads - 1) / threads, reads: at.inputs + [moments], writes: [at.output],
            detail: activation?.rawValue ?? "")
    }

    func layerNorm(_ node: Node, epsilon: Float, _ at: NodeAddresses) -> KernelCall {
        let shape = node.output.shape
        var push = PushConstants()
        for range in [at.input(0), at.input(1), at.input(2), at.output] { push.address(range.start) }
        push.uint(shape.rows)
        push.uint(shape.channels)
        push.float(epsilon)
        return KernelCall(
            shader: "layer_norm.\(Lowering.build(node.output.dtype))", constants: [UInt32(choice.reductionThreads)],
            push: push, groups: shape.rows, reads: at.inputs, writes: [at.output], detail: "")
    }

    func attention(_ node: Node, _ attention: Attention, _ at: NodeAddresses) -> KernelCall {
        let (query, key) = (node.inputs[0].shape, node.inputs[1].shape)
        let tile = choice.attentionTile(headSize: attention.headSize)
        let size = node.output.dtype.size
        let isVector = attention.headSize % 4 == 0 && at.inputs.allSatisfy { $0.isAligned(to: 4 * size) }
        var push = PushConstants()
        for range in [at.input(0), at.input(1), at.input(2), at.output] { push.address(range.start) }
        for number in [query[0], attention.heads, query[1], key[1]] { push.uint(number) }
        push.float(attention.scale)
        let constants = [
            tile.threads, tile.rows, tile.keys, attention.headSize, tile.columnThreads, tile.depth, tile.valueKeys,
        ]
        return KernelCall(
            shader: "attention.\(Lowering.build(node.output.dtype))",
            constants: constants.map(UInt32.init) + [attention.causal.code, isVector.code], push: push,
            groups: query[0] * attention.heads * ((query[1] + tile.rows - 1) / tile.rows), reads: at.inputs,
            writes: [at.output],
            detail: "\(tile.rows)x\(tile.keys) head \(attention.headSize)\(attention.causal ? " causal" : "")")
    }
}

/// The extents of a group norm.
private struct GroupExtent {
    let batch: Int
    let pixels: Int
    let channels: Int
    let groups: Int
    /// Pieces into which the pixels of each group are cut.
    let parts: Int

    init(_ node: Node, groups: Int, _ choice: KernelChoice) {
        let shape = node.output.shape
        batch = shape[0]
        channels = shape.channels
        pixels = shape.count / shape[0] / shape.channels
        self.groups = groups
        parts = min(choice.groupNormParts(elements: pixels * channels / groups, groups: batch * groups), pixels)
    }

    /// Count, mean and squares of each part, in fp32.
    var partsSize: Int { parts == 1 ? 0 : 12 * batch * groups * parts }
    /// Mean and reciprocal deviation of each group.
    var momentsSize: Int { 8 * batch * groups }
}
