import CalderaGraph
import CalderaVulkan

/// How the attention kernel for software drivers (Shaders/attention/attention_broadcast.comp) divides its work.
struct AttentionBroadcastTile {
    let lanes: Int
    /// Queries of a workgroup.
    let rows: Int
    /// Keys of a round.
    let keys: Int

    /// Nil for devices that the kernel is not for.
    init?(headSize: Int, keys keyCount: Int, on device: VulkanDeviceInfo) {
        guard device.kind == .software, device.subgroupBroadcast, (4...16).contains(device.subgroupSize) else {
            return nil
        }
        lanes = device.subgroupSize
        // The code grows with the rows and the head: larger heads would take the driver's compiler many seconds.
        rows = headSize > 160 ? lanes : divideUp(16, lanes) * lanes
        // As few keys as can be behind the last one: 77 of cross-attention are two rounds of 40.
        let rounds = max(1, divideUp(keyCount, 8 * lanes))
        keys = max(1, divideUp(divideUp(keyCount, rounds), lanes)) * lanes
    }

    /// Specialization constants 0 to 2.
    var constants: [UInt32] { [lanes, rows, keys].map { UInt32($0) } }
}

extension Lowering {
    /// Nil where the device takes the kernel for GPUs.
    func broadcastAttention(_ node: Node, _ attention: Attention) throws -> Dispatch? {
        let (query, key) = (node.inputs[0].shape, node.inputs[1].shape)
        guard let tile = AttentionBroadcastTile(headSize: attention.headSize, keys: key[1], on: device) else {
            return nil
        }
        let operands = try (node.inputs + [node.output]).map { try operand($0) }
        let dtype = node.output.dtype
        // Loads are of 8 bytes at least.
        let vector = allowsFours(operands, dtype, extents: [attention.headSize])
        return Dispatch(
            kernel: variant("attention_broadcast", dtype),
            constants: tile.constants + [UInt32(attention.headSize), 0, 0, 0]
                + [attention.causal.constant, vector.constant],
            push: PushConstants(operands, [query[0], attention.heads, query[1], key[1], attention.scale]),
            groups: query[0] * attention.heads * divideUp(query[1], tile.rows),
            reads: Array(operands.prefix(3)), writes: [operands[3]],
            detail: "\(tile.rows)x\(tile.keys) head \(attention.headSize)" + (attention.causal ? " causal" : ""))
    }
}
