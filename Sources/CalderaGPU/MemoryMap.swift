import CalderaGraph
import CalderaVulkan

/// A plan's two regions in device memory, as blocks no larger than one allocation.
final class MemoryMap {
    private let plan: Plan
    private let device: VulkanDevice
    private var blocks: [Region: [VulkanBuffer]] = [:]

    init(_ device: VulkanDevice, _ plan: Plan) throws {
        self.device = device
        self.plan = plan
        blocks[.arena] = try allocate(plan.arenaSize)
        blocks[.persistent] = try allocate(plan.persistentSize)
    }

    private func allocate(_ size: Int) throws -> [VulkanBuffer] {
        try stride(from: 0, to: size, by: min(size, plan.limits.blockSize)).map { start in
            try VulkanBuffer(device, size: min(plan.limits.blockSize, size - start), kind: .device)
        }
    }

    /// The block in which a value lies and its offset there in bytes; nil for weights.
    func place(_ tensor: Tensor) -> (buffer: VulkanBuffer, offset: Int)? {
        guard let location = plan.location(of: tensor), let blocks = blocks[location.region] else { return nil }
        let block = location.offset / plan.limits.blockSize
        guard blocks.indices.contains(block) else { return nil }
        return (blocks[block], location.offset % plan.limits.blockSize)
    }

    /// A value's bytes by device address; nil for weights.
    func range(_ tensor: Tensor) -> ByteRange? {
        place(tensor).map { place in
            ByteRange(start: place.buffer.address + UInt64(place.offset), count: tensor.shape.count * tensor.dtype.size)
        }
    }
}
