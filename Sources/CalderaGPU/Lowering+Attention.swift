import CalderaGraph

/// How the attention kernel divides its work.
struct AttentionTile {
    let threads: Int
    let rows: Int
    let keys: Int
    let columnThreads: Int
    /// Of a slice of queries and keys.
    let depth: Int
    /// Of a slice of values.
    let valueKeys: Int

    /// - Parameter budget: bytes of shared memory.
    init(headSize: Int, keys keyCount: Int, budget: Int, isSoftware: Bool, maxThreads: Int) {
        let threads = isSoftware ? 64 : min(256, maxThreads)
        columnThreads = isSoftware ? 8 : 16
        self.threads = threads
        depth = headSize.isMultiple(of: 16) ? 16 : 8
        // Large heads keep so many sums that fewer rows fit a thread's registers.
        let isSmall = isSoftware || headSize > 160 || budget < 32 << 10
        rows = isSmall ? 32 : 64
        // The larger tile unless the smaller one leaves fewer keys empty (77 of cross-attention: 96, not 128).
        let padded = { divideUp(keyCount, $0) * $0 }
        keys = isSmall || padded(32) < padded(64) ? 32 : 64
        // As many values as fit where the slices of the scores lie, or a little more.
        let room = depth * (rows + 4 + keys + 4)
        var values = keys
        while values > 1, values * headSize > max(room, 2048) { values /= 2 }
        valueKeys = values
    }

    var constants: [UInt32] { [threads, rows, keys].map { UInt32($0) } }
}

extension Lowering {
    func attention(_ node: Node, _ attention: Attention) throws -> Dispatch {
        guard attention.headSize.isMultiple(of: 8), attention.headSize <= 512 else {
            throw CalderaError(
                "\(node.label): attention heads of \(attention.headSize) channels are not supported on Vulkan: a "
                    + "multiple of 8 up to 512 is needed; use --device cpu.")
        }
        if let dispatch = try broadcastAttention(node, attention) { return dispatch }
        let (query, key) = (node.inputs[0].shape, node.inputs[1].shape)
        let dtype = node.output.dtype
        let operands = try (node.inputs + [node.output]).map { try operand($0) }
        let tile = AttentionTile(
            headSize: attention.headSize, keys: key[1], budget: device.sharedMemory,
            isSoftware: device.kind == .software, maxThreads: device.maxWorkgroupInvocations)
        let vector = allowsFours(Array(operands.prefix(3)), dtype, extents: [])
        let constants =
            tile.constants
            + [attention.headSize, tile.columnThreads, tile.depth, tile.valueKeys].map { UInt32($0) }
            + [attention.causal.constant, vector.constant]
        return Dispatch(
            kernel: variant("attention", dtype), constants: constants,
            push: PushConstants(
                operands, [query[0], attention.heads, query[1], key[1], attention.scale]),
            groups: query[0] * attention.heads * divideUp(query[1], tile.rows),
            reads: Array(operands.prefix(3)), writes: [operands[3]],
            detail: "\(tile.rows)x\(tile.keys) head \(attention.headSize)" + (attention.causal ? " causal" : ""))
    }
}
