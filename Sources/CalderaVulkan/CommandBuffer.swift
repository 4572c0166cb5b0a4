import CVulkan
import CalderaGraph

/// Work that is recorded once and may be submitted any number of times, one submission after another.
package final class CommandBuffer {
    let handle: VkCommandBuffer
    private let pool: VkCommandPool
    private let device: VulkanDevice

    /// Records what `body` asks for. Buffers and pipelines must outlive the command buffer.
    package init(_ device: VulkanDevice, _ body: (inout CommandRecorder) throws -> Void) throws {
        self.device = device
        let functions = device.functions
        var poolInfo = VkCommandPoolCreateInfo()
        poolInfo.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO
        poolInfo.queueFamilyIndex = device.queueFamily
        var pool: VkCommandPool?
        try check(functions.vkCreateCommandPool(device.handle, &poolInfo, nil, &pool), "creating a command pool")
        guard let pool else { throw CalderaError("The driver gave no command pool.") }
        self.pool = pool
        do {
            handle = try CommandBuffer.allocate(device, pool)
            var begin = VkCommandBufferBeginInfo()
            begin.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO
            try check(functions.vkBeginCommandBuffer(handle, &begin), "beginning to record")
            var recorder = CommandRecorder(device: device, handle: handle)
            try body(&recorder)
            try check(functions.vkEndCommandBuffer(handle), "ending to record")
        } catch {
            functions.vkDestroyCommandPool(device.handle, pool, nil)
            throw error
        }
    }

    deinit { device.functions.vkDestroyCommandPool(device.handle, pool, nil) }

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

/// Records kernels, copies and barriers into a command buffer.
package struct CommandRecorder {
    let device: VulkanDevice
    let handle: VkCommandBuffer

    /// Runs a kernel over `groups` workgroups with these push constants (at most `VulkanDevice.pushConstantSize` bytes).
    package func dispatch(_ pipeline: ComputePipeline, constants: [UInt8], groups: (x: Int, y: Int, z: Int)) {
        let functions = device.functions
        functions.vkCmdBindPipeline(handle, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline.handle.pipeline)
        constants.withUnsafeBytes { bytes in
            functions.vkCmdPushConstants(
                handle, device.pipelineLayout, VK_SHADER_STAGE_COMPUTE_BIT.rawValue, 0, UInt32(bytes.count),
                bytes.baseAddress)
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

    /// Offsets and size in bytes.
    package func copy(
        from source: VulkanBuffer, at sourceOffset: Int = 0, to target: VulkanBuffer, at targetOffset: Int = 0,
        size: Int
    ) {
        var region = VkBufferCopy(
            srcOffset: VkDeviceSize(sourceOffset), dstOffset: VkDeviceSize(targetOffset), size: VkDeviceSize(size))
        device.functions.vkCmdCopyBuffer(handle, source.handle, target.handle, 1, &region)
    }
}
