import CVulkan
import CalderaGraph

/// The order of a device's work: each submission has a number, and the host can wait for it.
package final class Timeline {
    private let device: VulkanDevice
    private let semaphore: VkSemaphore
    /// The number of the last submission; 0 before the first.
    package private(set) var last: UInt64 = 0

    package init(_ device: VulkanDevice) throws {
        let arena = PointerArena()
        var type = VkSemaphoreTypeCreateInfo()
        type.sType = VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO
        type.semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE
        var info = VkSemaphoreCreateInfo()
        info.sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO
        info.pNext = UnsafeRawPointer(arena.value(type))
        var semaphore: VkSemaphore?
        try check(device.functions.vkCreateSemaphore(device.handle, &info, nil, &semaphore), "creating a timeline")
        guard let semaphore else { throw CalderaError("The driver gave no timeline semaphore.") }
        self.semaphore = semaphore
        self.device = device
    }

    deinit {
        try? wait()
        device.functions.vkDestroySemaphore(device.handle, semaphore, nil)
    }

    /// Hands work to the device, behind all that was submitted before.
    package func submit(_ commands: CommandBuffer) throws {
        let arena = PointerArena()
        var buffer = VkCommandBufferSubmitInfo()
        buffer.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_SUBMIT_INFO
        buffer.commandBuffer = commands.handle
        var info = VkSubmitInfo2()
        info.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO_2
        info.waitSemaphoreInfoCount = 1
        info.pWaitSemaphoreInfos = arena.value(point(last))
        info.commandBufferInfoCount = 1
        info.pCommandBufferInfos = arena.value(buffer)
        info.signalSemaphoreInfoCount = 1
        info.pSignalSemaphoreInfos = arena.value(point(last + 1))
        try check(device.functions.vkQueueSubmit2(device.queue, 1, &info, nil), "submitting work")
        last += 1
    }

    /// Blocks until everything submitted is done.
    package func wait() throws { try wait(for: last) }

    /// Blocks until the submission of this number is done; 0 is done from the start.
    package func wait(for number: UInt64) throws {
        let arena = PointerArena()
        var info = VkSemaphoreWaitInfo()
        info.sType = VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO
        info.semaphoreCount = 1
        info.pSemaphores = arena.array([Optional(semaphore)])
        info.pValues = arena.value(number)
        try check(device.functions.vkWaitSemaphores(device.handle, &info, UInt64.max), "waiting for the device")
    }

    /// Submits and waits.
    package func run(_ commands: CommandBuffer) throws {
        try submit(commands)
        try wait()
    }

    private func point(_ value: UInt64) -> VkSemaphoreSubmitInfo {
        var info = VkSemaphoreSubmitInfo()
        info.sType = VK_STRUCTURE_TYPE_SEMAPHORE_SUBMIT_INFO
        info.semaphore = semaphore
        info.value = value
        info.stageMask = VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT
        return info
    }
}
