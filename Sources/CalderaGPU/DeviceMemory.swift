import CalderaGraph
import CalderaVulkan

/// One of a plan's regions in device memory: as many buffers as its blocks. No value straddles two of them.
final class RegionMemory {
    private let buffers: [VulkanBuffer]
    private let blockSize: Int

    init(_ device: VulkanDevice, size: Int, blockSize: Int) throws {
        self.blockSize = blockSize
        var buffers: [VulkanBuffer] = []
        var offset = 0
        while offset < size {
            let length = min(blockSize, size - offset)
            buffers.append(try VulkanBuffer(device, size: length, kind: .device))
            offset += length
        }
        self.buffers = buffers
    }

    var bytes: Int { buffers.reduce(0) { $0 + $1.size } }

    /// The buffer that holds what lies at `offset` of the region, and the offset inside it.
    func place(_ offset: Int) -> (buffer: VulkanBuffer, offset: Int) {
        (buffers[offset / blockSize], offset % blockSize)
    }
}

/// Says where a node's operands lie.
protocol OperandSource {
    /// An activation's memory.
    func operand(_ tensor: Tensor) throws -> Operand
    /// A weight's memory, packed as asked.
    func weight(_ name: String, shape: Shape, packing: Packing, dtype: DType) throws -> Operand
    /// fp32 numbers that the host computes.
    func constant(_ values: [Float]) throws -> Operand
    /// Memory that a node uses while it runs; other nodes are given the same.
    func scratch(bytes: Int) throws -> Operand
}

/// The memory of an executable.
final class ExecutableMemory: OperandSource {
    private let device: VulkanDevice
    private let plan: Plan
    let arena: RegionMemory
    let persistent: RegionMemory
    let weights: WeightStore
    /// The last is the largest; earlier ones are still named by what was recorded before.
    private var scratches: [VulkanBuffer] = []

    init(_ device: VulkanDevice, _ plan: Plan, _ source: any WeightSource) throws {
        self.device = device
        self.plan = plan
        arena = try RegionMemory(device, size: plan.arenaSize, blockSize: plan.limits.blockSize)
        persistent = try RegionMemory(device, size: plan.persistentSize, blockSize: plan.limits.blockSize)
        weights = try WeightStore(device, source, expecting: plan.weightSize + 512 * plan.weights.count)
    }

    var use: MemoryUse {
        let scratch = scratches.reduce(0) { $0 + $1.size }
        return MemoryUse(weights: weights.bytes, arena: arena.bytes + scratch, persistent: persistent.bytes)
    }

    func place(_ tensor: Tensor) throws -> (buffer: VulkanBuffer, offset: Int) {
        guard let location = plan.location(of: tensor) else {
            throw CalderaError("A value of shape \(tensor.shape) has no place in the plan's memory.")
        }
        return (location.region == .arena ? arena : persistent).place(location.offset)
    }

    func operand(_ tensor: Tensor) throws -> Operand {
        let place = try place(tensor)
        return Operand(
            address: place.buffer.address + UInt64(place.offset), bytes: tensor.shape.count * tensor.dtype.size)
    }

    func weight(_ name: String, shape: Shape, packing: Packing, dtype: DType) throws -> Operand {
        try weights.operand(name, shape: shape, packing: packing, dtype: dtype)
    }

    func constant(_ values: [Float]) throws -> Operand { try weights.constant(values) }

    func scratch(bytes: Int) throws -> Operand {
        if let last = scratches.last, last.size >= bytes { return Operand(address: last.address, bytes: bytes) }
        let buffer = try VulkanBuffer(device, size: max(bytes, 64 << 10), kind: .device)
        scratches.append(buffer)
        return Operand(address: buffer.address, bytes: bytes)
    }
}

/// Stands in for memory where a plan is only described: values where the plan places them, the rest aligned somewhere.
struct DescribedMemory: OperandSource {
    let plan: Plan

    func operand(_ tensor: Tensor) -> Operand {
        let offset = plan.location(of: tensor)?.offset ?? 0
        return Operand(address: UInt64(offset), bytes: tensor.shape.count * tensor.dtype.size)
    }

    func weight(_ name: String, shape: Shape, packing: Packing, dtype: DType) -> Operand {
        Operand(address: 0, bytes: shape.count * dtype.size)
    }

    func constant(_ values: [Float]) -> Operand { Operand(address: 0, bytes: values.count * 4) }

    func scratch(bytes: Int) -> Operand { Operand(address: 0, bytes: bytes) }
}
