import CVulkan
import CalderaGraph

/// A buffer with memory of its own, addressed by kernels through its device address.
package final class VulkanBuffer {
    package enum Kind: Sendable {
        /// Device memory; host visible too where the device has such memory (integrated GPUs, software drivers).
        case device
        /// Host memory that the host writes and the device reads.
        case upload
        /// Host memory that the device writes and the host reads.
        case readback
    }

    /// Bytes.
    package let size: Int
    /// Where kernels find it.
    package let address: UInt64
    /// Where the host finds it; nil for device memory that the host cannot see.
    package let mapped: UnsafeMutableRawPointer?
    let handle: VkBuffer
    private let memory: VkDeviceMemory
    private let device: VulkanDevice

    /// Throws `CalderaError` when no buffer of the device can be that large, or it has not that much memory left.
    package init(_ device: VulkanDevice, size: Int, kind: Kind) throws {
        let functions = device.functions
        guard size >= 0 else { throw CalderaError("A buffer cannot have \(size) bytes.") }
        guard size <= device.info.largestAllocation else {
            throw CalderaError(
                "\(device.info.name) has no buffers of \(size) bytes: its largest allocation is "
                    + "\(device.info.largestAllocation).")
        }
        var info = VkBufferCreateInfo()
        info.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO
        info.size = VkDeviceSize(max(size, 16))
        info.usage =
            VK_BUFFER_USAGE_STORAGE_BUFFER_BIT.rawValue | VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT.rawValue
            | VK_BUFFER_USAGE_TRANSFER_SRC_BIT.rawValue | VK_BUFFER_USAGE_TRANSFER_DST_BIT.rawValue
        info.sharingMode = VK_SHARING_MODE_EXCLUSIVE
        var buffer: VkBuffer?
        try check(functions.vkCreateBuffer(device.handle, &info, nil, &buffer), "creating a buffer of \(size) bytes")
        guard let buffer else { throw CalderaError("The driver gave no buffer of \(size) bytes.") }
        do {
            let allocation = try VulkanBuffer.allocate(device, buffer, kind)
            memory = allocation.memory
            mapped = allocation.mapped
        } catch {
            functions.vkDestroyBuffer(device.handle, buffer, nil)
            throw error
        }
        var addressInfo = VkBufferDeviceAddressInfo()
        addressInfo.sType = VK_STRUCTURE_TYPE_BUFFER_DEVICE_ADDRESS_INFO
        addressInfo.buffer = buffer
        address = functions.vkGetBufferDeviceAddress(device.handle, &addressInfo)
        handle = buffer
        self.size = size
        self.device = device
        device.didAllocate(size)
    }

    /// Work under way may still use the memory, so the device finishes first.
    deinit {
        let functions = device.functions
        _ = functions.vkDeviceWaitIdle(device.handle)
        functions.vkDestroyBuffer(device.handle, handle, nil)
        functions.vkFreeMemory(device.handle, memory, nil)
        device.didFree(size)
    }

    // MARK: Memory

    private static func allocate(
        _ device: VulkanDevice, _ buffer: VkBuffer, _ kind: Kind
    ) throws -> (memory: VkDeviceMemory, mapped: UnsafeMutableRawPointer?) {
        let functions = device.functions
        var requirements = VkMemoryRequirements()
        functions.vkGetBufferMemoryRequirements(device.handle, buffer, &requirements)
        let arena = PointerArena()
        var flags = VkMemoryAllocateFlagsInfo()
        flags.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO
        flags.flags = VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT.rawValue
        for type in candidates(device, requirements.memoryTypeBits, kind) {
            var info = VkMemoryAllocateInfo()
            info.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO
            info.pNext = UnsafeRawPointer(arena.value(flags))
            info.allocationSize = requirements.size
            info.memoryTypeIndex = UInt32(type)
            var memory: VkDeviceMemory?
            guard functions.vkAllocateMemory(device.handle, &info, nil, &memory) == VK_SUCCESS, let memory else {
                continue
            }
            do {
                let hostVisible =
                    VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT.rawValue | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT.rawValue
                let visible = device.memoryTypes[type].propertyFlags & hostVisible == hostVisible
                return (memory, try bind(device, buffer, memory, mapping: visible))
            } catch {
                functions.vkFreeMemory(device.handle, memory, nil)
                throw error
            }
        }
        throw CalderaError(
            "\(device.info.name) has no room for a buffer of \(requirements.size) bytes beside the "
                + "\(device.allocatedBytes) that are in use (it has \(device.info.memory)): choose a smaller picture or "
                + "count, a lower precision, or --device cpu.")
    }

    private static func bind(
        _ device: VulkanDevice, _ buffer: VkBuffer, _ memory: VkDeviceMemory, mapping: Bool
    ) throws -> UnsafeMutableRawPointer? {
        try check(device.functions.vkBindBufferMemory(device.handle, buffer, memory, 0), "binding memory to a buffer")
        guard mapping else { return nil }
        var pointer: UnsafeMutableRawPointer?
        try check(
            device.functions.vkMapMemory(device.handle, memory, 0, VkDeviceSize.max, 0, &pointer), "mapping a buffer")
        return pointer
    }

    /// Memory types that suit, the best first.
    private static func candidates(_ device: VulkanDevice, _ allowed: UInt32, _ kind: Kind) -> [Int] {
        let local = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT.rawValue
        let host = VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT.rawValue | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT.rawValue
        let cached = VK_MEMORY_PROPERTY_HOST_CACHED_BIT.rawValue
        let wishes: [UInt32] =
            switch kind {
            // Host-visible device memory is the ordinary kind on integrated and software devices alone; elsewhere it is
            // the scarce window into a card's memory.
            case .device: device.info.kind == .discrete ? [local] : [local | host, local]
            case .upload: [host]
            case .readback: [host | cached, host]
            }
        var types: [Int] = []
        for wish in wishes {
            for (index, type) in device.memoryTypes.enumerated()
            where allowed & (1 << index) != 0 && type.propertyFlags & wish == wish && !types.contains(index) {
                types.append(index)
            }
        }
        return types
    }
}
