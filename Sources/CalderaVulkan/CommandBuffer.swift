import CVulkan
import CalderaGraph

/// Work that is recorded once and may be submitted any number of times, also while an earlier submission is under way.
package final class CommandBuffer {
    let handle: VkCommandBuffer
    private let pool: VkCommandPool
    private let device: VulkanDevice

    /// Records what `body` asks for. Buffers, pipelines and timestamps must outlive the command buffer.
    /// Throws `CalderaError` when a command is beyond the device's limits or a buffer's end.
    package init(_ device: VulkanDevice, _ body: (inout CommandRecorder) throws -> Void) throws {
        self.device = device
        let functions = device.functions
        var poolInfo = VkCommandPoolCreateInfo()
        poolInfo.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO
        poolInfo.queueFamilyIndex = device.queueFamily
        var pool: VkCommandPool?
        try check(functions.vkCreateCommandPool(device.handle, &poolInfo, nil, &pool), "creating a command pool")
        guard let pool else { throw CalderaError("The driver gave no command pool.") }
        do {
            handle = try CommandBuffer.allocate(device, pool)
        } catch {
            functions.vkDestroyCommandPool(device.handle, pool, nil)
            throw error
        }
        // From here on every member is set, and an error leaves the pool to deinit.
        self.pool = pool
        var begin = VkCommandBufferBeginInfo()
        begin.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO
        // A replay may be queued before the one ahead of it is done; the timeline keeps them apart.
        begin.flags = VK_COMMAND_BUFFER_USAGE_SIMULTANEOUS_USE_BIT.rawValue
        try check(functions.vkBeginCommandBuffer(handle, &begin), "beginning to record")
        var recorder = CommandRecorder(device: device, handle: handle)
        try body(&recorder)
        if let fault = recorder.faults.first { throw fault }
        try check(functions.vkEndCommandBuffer(handle), "ending to record")
    }

    /// Waits for what was submitted: a command buffer must not go while it runs.
    deinit {
        _ = device.functions.vkDeviceWaitIdle(device.handle)
        device.functions.vkDestroyCommandPool(device.handle, pool, nil)
    }

    private static func allocate(_ device: VulkanDevice, _ pool: VkCommandPool) throws -> VkCommandBuffer {
        var info = VkCommandBufferAllocateInfo()
        info.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO
        info.commandPool = pool
        info.level = VK_COMMAND_BUFFER_LEVEL_PRIMARY
        info.commandBufferCount = 1
        var handle: VkCommandBuffer?
        try check(
            device.functions.vkAllocateCommandBuffers(device.handle, &info, &handle), "allocating a command buffer")
        guard let handle else { throw CalderaError("The driver gave no command buffer.") }
        return handle
    }
}

/// Records kernels, copies and barriers into a command buffer. A command that the device could not run is left out, and
/// makes the recording fail at its end.
package struct CommandRecorder {
    /// Shared by the copies of a recorder.
    final class Faults {
        private(set) var first: CalderaError?

        func add(_ message: String) { first = first ?? CalderaError(message) }
    }

    let device: VulkanDevice
    let handle: VkCommandBuffer
    let faults = Faults()

    /// Runs a kernel over `groups` workgroups with these push constants (at most `VulkanDevice.pushConstantSize` bytes,
    /// in whole words).
    package func dispatch(_ pipeline: ComputePipeline, constants: [UInt8], groups: (x: Int, y: Int, z: Int)) {
        let functions = device.functions
        guard constants.count <= VulkanDevice.pushConstantSize, constants.count.isMultiple(of: 4) else {
            return faults.add("A kernel cannot take \(constants.count) bytes of push constants.")
        }
        let limit = device.info.maxWorkgroupCount
        guard 0...limit.0 ~= groups.x, 0...limit.1 ~= groups.y, 0...limit.2 ~= groups.z else {
            return faults.add(
                "\(device.info.name) cannot run \(groups.x) x \(groups.y) x \(groups.z) workgroups; "
                    + "\(limit.0) x \(limit.1) x \(limit.2) is the most.")
        }
        functions.vkCmdBindPipeline(handle, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline.handle.pipeline)
        if !constants.isEmpty {
            constants.withUnsafeBytes { bytes in
                functions.vkCmdPushConstants(
                    handle, device.pipelineLayout, VK_SHADER_STAGE_COMPUTE_BIT.rawValue, 0, UInt32(bytes.count),
                    bytes.baseAddress)
            }
        }
        functions.vkCmdDispatch(handle, UInt32(groups.x), UInt32(groups.y), UInt32(groups.z))
    }

    /// Makes everything written so far, by kernels, copies or the host, visible to everything that follows.
    package func barrier() {
        let stages = VK_PIPELINE_STAGE_2_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_2_ALL_TRANSFER_BIT
        memoryBarrier(
            from: (stages, VK_ACCESS_2_SHADER_WRITE_BIT | VK_ACCESS_2_TRANSFER_WRITE_BIT),
            to: (
                stages,
                VK_ACCESS_2_SHADER_READ_BIT | VK_ACCESS_2_SHADER_WRITE_BIT | VK_ACCESS_2_TRANSFER_READ_BIT
                    | VK_ACCESS_2_TRANSFER_WRITE_BIT
            ))
    }

    /// Makes what the device has written visible to the host, once the submission is done.
    package func hostBarrier() {
        let stages = VK_PIPELINE_STAGE_2_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_2_ALL_TRANSFER_BIT
        memoryBarrier(
            from: (stages, VK_ACCESS_2_SHADER_WRITE_BIT | VK_ACCESS_2_TRANSFER_WRITE_BIT),
            to: (VK_PIPELINE_STAGE_2_HOST_BIT, VK_ACCESS_2_HOST_READ_BIT))
    }

    private func memoryBarrier(
        from: (VkPipelineStageFlags2, VkAccessFlags2), to: (VkPipelineStageFlags2, VkAccessFlags2)
    ) {
        var barrier = VkMemoryBarrier2()
        barrier.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER_2
        (barrier.srcStageMask, barrier.srcAccessMask) = from
        (barrier.dstStageMask, barrier.dstAccessMask) = to
        withUnsafePointer(to: &barrier) { pointer in
            var info = VkDependencyInfo()
            info.sType = VK_STRUCTURE_TYPE_DEPENDENCY_INFO
            info.memoryBarrierCount = 1
            info.pMemoryBarriers = pointer
            device.functions.vkCmdPipelineBarrier2(handle, &info)
        }
    }

    /// Offsets and size in bytes. Barriers against kernels and other copies are the caller's.
    package func copy(
        from source: VulkanBuffer, at sourceOffset: Int = 0, to target: VulkanBuffer, at targetOffset: Int = 0,
        size: Int
    ) {
        guard holds(source, sourceOffset, size), holds(target, targetOffset, size), size > 0 else { return }
        var region = VkBufferCopy(
            srcOffset: VkDeviceSize(sourceOffset), dstOffset: VkDeviceSize(targetOffset), size: VkDeviceSize(size))
        device.functions.vkCmdCopyBuffer(handle, source.handle, target.handle, 1, &region)
    }

    /// Repeats a word; offset and size in bytes, multiples of 4.
    package func fill(_ buffer: VulkanBuffer, at offset: Int = 0, size: Int, word: UInt32) {
        guard offset.isMultiple(of: 4), size.isMultiple(of: 4) else {
            return faults.add("A fill of \(size) bytes at \(offset) is not in whole words.")
        }
        guard holds(buffer, offset, size), size > 0 else { return }
        device.functions.vkCmdFillBuffer(handle, buffer.handle, VkDeviceSize(offset), VkDeviceSize(size), word)
    }

    /// Forgets what earlier submissions wrote; comes before the first `write` into these timestamps.
    package func reset(_ timestamps: Timestamps) {
        device.functions.vkCmdResetQueryPool(handle, timestamps.handle, 0, UInt32(timestamps.count))
    }

    /// Notes when everything recorded before is done.
    package func write(_ timestamps: Timestamps, at index: Int) {
        guard 0..<timestamps.count ~= index else {
            return faults.add("There is no timestamp \(index) among \(timestamps.count).")
        }
        device.functions.vkCmdWriteTimestamp2(
            handle, VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT, timestamps.handle, UInt32(index))
    }

    private func holds(_ buffer: VulkanBuffer, _ offset: Int, _ size: Int) -> Bool {
        if offset >= 0, size >= 0, offset <= buffer.size, size <= buffer.size - offset { return true }
        faults.add("A copy of \(size) bytes at \(offset) does not fit a buffer of \(buffer.size) bytes.")
        return false
    }
}
