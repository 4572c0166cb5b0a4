import CalderaGraph

/// What language models add: Shaders/language, and their norm in Shaders/norm.
extension Lowering {
    func rmsNorm(_ node: Node, epsilon: Float) throws -> Dispatch {
        let (shape, dtype) = (node.output.shape, node.output.dtype)
        let operands = [try operand(node.inputs[0]), try operand(node.inputs[1], as: dtype)]
        let result = try operand(node.output)
        return Dispatch(
            kernel: variant("rms_norm", dtype), constants: [UInt32(team(128))],
            push: PushConstants(operands + [result], [shape.rows, shape.channels, epsilon]), groups: shape.rows,
            reads: operands, writes: [result])
    }

    func swiglu(_ node: Node) throws -> Dispatch {
        let sources = try node.inputs.map { try operand($0) }
        let (count, dtype) = (node.output.shape.count, node.output.dtype)
        let width = allowsFours(sources + [try operand(node.output)], dtype, extents: [count]) ? 4 : 1
        return try elementwise(variant("swiglu", dtype), node, width: width, reads: sources, numbers: [count])
    }

    func rotary(_ node: Node, headSize: Int) throws -> Dispatch {
        let (shape, entries) = (node.output.shape, node.inputs[1].shape[0])
        return try elementwise(
            variant("rotary", node.output.dtype), node, reads: try node.inputs.map { try operand($0) },
            numbers: [shape.count, shape.channels, headSize, shape[1], entries])
    }

    /// The threads are over the source's elements: the rest of the cache stays as it is.
    func writeCache(_ node: Node) throws -> Dispatch {
        let reads = [try operand(node.inputs[0]), try operand(node.inputs[1])]
        let cache = try operand(node.output)
        let (source, entries) = (node.inputs[0].shape, node.output.shape[1])
        let dtype = node.output.dtype
        let width = allowsFours([reads[0], cache], dtype, extents: [source.channels]) ? 4 : 1
        return Dispatch(
            kernel: variant("write_cache", dtype), constants: [256, UInt32(width)],
            push: PushConstants(reads + [cache], [source.count, source.channels, source[1], entries]),
            groups: min(divideUp(source.count, 256 * width), device.maxWorkgroupCount.0), reads: reads, writes: [cache])
    }

    /// A workgroup for each token and head.
    func cachedAttention(_ node: Node, _ attention: CachedAttention) throws -> Dispatch {
        let operands = try (node.inputs + [node.output]).map { try operand($0) }
        let (query, entries, dtype) = (node.output.shape, node.inputs[1].shape[1], node.output.dtype)
        let threads = team(64)
        let vector = allowsFours(Array(operands.prefix(3)), dtype, extents: [attention.headSize])
        return Dispatch(
            kernel: variant("cached_attention", dtype),
            constants: [UInt32(threads), UInt32(attention.headSize), vector.constant],
            push: PushConstants(
                operands,
                [query.rows, attention.heads, attention.keyHeads, query[1], entries, attention.scale]),
            groups: query.rows * attention.heads, reads: Array(operands.prefix(4)), writes: [operands[4]],
            detail: "\(attention.heads) heads of \(attention.headSize) to \(attention.keyHeads)")
    }
}
