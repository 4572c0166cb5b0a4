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

/// What an executable will allocate, known before it is.
struct DeviceMemoryPlan {
    let layout: WeightLayout
    let scratchSize: Int
    /// Whether weights and states go through buffers that the host sees.
    let isStaged: Bool
    let forecast: MemoryForecast

    init(_ plan: Plan, _ census: MemoryCensus, on device: VulkanDevice, isStaged: Bool, budget: Int?) {
        let stateSize = StateSnapshot.size(plan) * (isStaged ? 2 : 1)
        let persistent = plan.persistentSize + stateSize
        let pieces = isStaged ? Uploader.stageCount * WeightStore.pieceSize(census.weights) : 0
        let ports = device.mapsDeviceMemory ? 0 : DeviceMemoryPlan.largestPort(plan)
        let fixed = plan.arenaSize + persistent + census.scratchSize + max(pieces, ports)
        let copies = isStaged ? 2 : 1
        layout = WeightLayout(
            census, budget: budget.map { $0 - fixed }, copies: copies,
            largestAllocation: device.info.largestAllocation)
        scratchSize = census.scratchSize
        self.isStaged = isStaged
        let streaming = WeightLayout.regionCount * copies * layout.regionSize
        // The pieces are given back before the regions come.
        let loading = isStaged ? Uploader.stageCount * WeightStore.pieceSize(layout.resident) : 0
        forecast = MemoryForecast(
            weights: layout.chunkBytes, streaming: streaming, streamedWeights: layout.streamedSize,
            arena: plan.arenaSize, persistent: persistent, working: scratchSize,
            staging: max(loading - streaming, ports, 0))
    }

    /// Bytes of the buffer through which the host writes or reads the largest value where it does not see the device's
    /// memory.
    private static func largestPort(_ plan: Plan) -> Int {
        (plan.inputs + plan.states + plan.outputs).map { $0.tensor.shape.count * $0.tensor.dtype.size }.max() ?? 0
    }
}

/// The memory of an executable.
final class ExecutableMemory: OperandSource {
    private let plan: Plan
    let arena: RegionMemory
    let persistent: RegionMemory
    let weights: WeightStore
    private let scratch: VulkanBuffer?

    init(_ device: VulkanDevice, _ plan: Plan, _ source: any WeightSource, _ memory: DeviceMemoryPlan) throws {
        self.plan = plan
        arena = try RegionMemory(device, size: plan.arenaSize, blockSize: plan.limits.blockSize)
        persistent = try RegionMemory(device, size: plan.persistentSize, blockSize: plan.limits.blockSize)
        scratch =
            memory.scratchSize > 0 ? try VulkanBuffer(device, size: memory.scratchSize, kind: .device) : nil
        weights = try WeightStore(device, source, memory.layout, isStaged: memory.isStaged)
        try weights.load()
    }

    var use: MemoryUse {
        MemoryUse(weights: weights.bytes, arena: arena.bytes + (scratch?.size ?? 0), persistent: persistent.bytes)
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
        try weights.operand(WeightKey(name: name, packing: packing, dtype: dtype), shape: shape)
    }

    func constant(_ values: [Float]) throws -> Operand { try weights.constant(values) }

    func scratch(bytes: Int) throws -> Operand {
        guard let scratch, scratch.size >= bytes else {
            throw CalderaError("A kernel asks for \(bytes) bytes of working memory that were not foreseen.")
        }
        return Operand(address: scratch.address, bytes: bytes)
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
