import CalderaGraph

extension Lowering {
    func attention(_ node: Node, _ attention: Attention) throws -> Dispatch {
        guard attention.headSize.isMultiple(of: 8), attention.headSize <= 512 else {
            throw CalderaError(
                "\(node.label): attention heads of \(attention.headSize) channels are not supported on Vulkan: a "
                    + "multiple of 8 up to 512 is needed; use --device cpu.")
        }
        let (query, key) = (node.inputs[0].shape, node.inputs[1].shape)
        let dtype = node.output.dtype
        let operands = try (node.inputs + [node.output]).map { try operand($0) }
        let tile = attentionTile(node, attention, keys: key[1])
        // The broadcast core stores fours as well.
        let vector =
            tile.core == .broadcast
            ? allowsFours(operands, dtype, extents: [attention.headSize])
            : allowsFours(Array(operands.prefix(3)), dtype, extents: [])
        let constants =
            tile.constants
            + [attention.headSize, tile.columnThreads, tile.depth, tile.valueKeys].map { UInt32($0) }
            + [attention.causal.constant, vector.constant]
        return Dispatch(
            kernel: variant(tile.core.rawValue, dtype), constants: constants,
            push: PushConstants(
                operands, [query[0], attention.heads, query[1], key[1], attention.scale]),
            groups: query[0] * attention.heads * divideUp(query[1], tile.rows),
            reads: Array(operands.prefix(3)), writes: [operands[3]],
            detail: "\(tile) head \(attention.headSize)" + (attention.causal ? " causal" : ""))
    }

    private func attentionTile(_ node: Node, _ attention: Attention, keys: Int) -> AttentionTile {
        let choice = TunedShape(node).flatMap { shape in
            choices.attentionTile(shape) {
                AttentionTile.candidates(headSize: attention.headSize, keys: keys, on: device)
            }
        }
        return choice ?? .choose(headSize: attention.headSize, keys: keys, on: device)
    }
}
