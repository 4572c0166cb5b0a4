import CalderaGraph

/// The arithmetic round the model, over fp32 latents.
extension Lowering {
    func blend(_ node: Node) throws -> Dispatch {
        let sources = try node.inputs.map { try operand($0) }
        let shape = node.output.shape
        let width =
            allowsFours(sources.dropLast() + [try operand(node.output)], .float32, extents: [shape.channels]) ? 4 : 1
        return try elementwise(
            "blend.FP32", node, width: width, reads: sources,
            numbers: [shape.count, shape.channels, node.inputs[2].shape.count])
    }

    /// The moments of both tensors, each entry of the batch being one group, then their ratio.
    func rescale(_ node: Node, column: Int) throws -> [Dispatch] {
        let reads = try node.inputs.map { try operand($0) }
        let result = try operand(node.output)
        let (table, shape) = (node.inputs[0].shape, node.output.shape)
        let perEntry = shape.count / max(shape[0], 1)
        let moments = GroupMoments(
            batch: shape[0], pixels: perEntry / max(shape.channels, 1), channels: shape.channels, groups: 1, epsilon: 0)
        let scratch = try memory.scratch(bytes: 2 * moments.bytes)
        let halves = [0, 1].map {
            Operand(address: scratch.address + UInt64($0 * moments.bytes), bytes: moments.bytes)
        }
        let found = halves.map { moments.result(in: $0) }
        let width = allowsFours([reads[2], result], .float32, extents: [perEntry]) ? 4 : 1
        let apply = try elementwise(
            "rescale.FP32", node, width: width, reads: Array(reads.prefix(3)) + found,
            numbers: [column, table[1], table[0], shape.count, perEntry])
        return zip(reads.dropFirst(2), halves).flatMap { source, half in
            self.moments(moments, of: NormSource(first: source, split: shape.channels), .float32, in: half)
        } + [apply]
    }
}
