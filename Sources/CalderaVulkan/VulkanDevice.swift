import CVulkan
import CalderaGraph
import Foundation

/// A device opened for compute: one queue, its memory, its pipelines. Buffers, pipelines and commands keep it alive.
///
/// To be used from one thread at a time.
package final class VulkanDevice {
    package let physical: VulkanPhysicalDevice
    package var info: VulkanDeviceInfo { physical.info }
    package let pipelineCache: PipelineCacheFile
    let handle: VkDevice
    let functions: CVulkanDevice
    let queue: VkQueue
    let queueFamily: UInt32
    let memoryTypes: [VkMemoryType]
    let pipelineLayout: VkPipelineLayout
    let cacheHandle: VkPipelineCache?
    private var pipelines: [ComputePipeline.Key: ComputePipeline.Handle] = [:]
    /// Bytes of device memory that are allocated now, and the most that ever were.
    package private(set) var allocatedBytes = 0
    package private(set) var peakAllocatedBytes = 0

    /// Seconds that the driver has spent on compiling kernels so far.
    package private(set) var pipelineSeconds = 0.0

    /// Bytes of push constants that every kernel may use: what each implementation has to offer.
    package static let pushConstantSize = 128

    /// Opens a usable device. Throws `CalderaError` with the reason when it is none, or the driver refuses.
    package init(_ physical: VulkanPhysicalDevice, pipelineCache: PipelineCacheFile? = nil) throws {
        if let reason = physical.info.unusableReason {
            throw CalderaError("The device \(physical.info.name) cannot be used: \(reason).")
        }
        guard let family = physical.computeQueueFamily else {
            throw CalderaError("The device \(physical.info.name) cannot be used: it has no compute queue.")
        }
        let instance = physical.instance
        let handle = try VulkanDevice.create(physical, family)
        var functions = CVulkanDevice()
        let complete = withUnsafePointer(to: instance.functions) { cvulkan_load_device($0, handle, &functions) }
        guard complete else {
            functions.vkDestroyDevice?(handle, nil)
            throw CalderaError("The driver of \(physical.info.name) lacks functions of Vulkan 1.3: update it.")
        }
        var queue: VkQueue?
        functions.vkGetDeviceQueue(handle, family, 0, &queue)
        guard let queue else {
            functions.vkDestroyDevice(handle, nil)
            throw CalderaError("The device \(physical.info.name) gave no queue.")
        }
        do {
            pipelineLayout = try VulkanDevice.layout(handle, functions)
        } catch {
            functions.vkDestroyDevice(handle, nil)
            throw error
        }
        self.physical = physical
        self.handle = handle
        self.functions = functions
        self.queue = queue
        queueFamily = family
        memoryTypes = VulkanDevice.memoryTypes(physical)
        self.pipelineCache = pipelineCache ?? PipelineCacheFile(identity: physical.info.cacheIdentity)
        cacheHandle = VulkanDevice.cache(handle, functions, initial: self.pipelineCache.load())
    }

    deinit {
        _ = functions.vkDeviceWaitIdle(handle)
        for pipeline in pipelines.values { functions.vkDestroyPipeline(handle, pipeline.pipeline, nil) }
        if let cacheHandle { functions.vkDestroyPipelineCache(handle, cacheHandle, nil) }
        functions.vkDestroyPipelineLayout(handle, pipelineLayout, nil)
        functions.vkDestroyDevice(handle, nil)
    }

    // MARK: Accounts

    func didAllocate(_ bytes: Int) {
        allocatedBytes += bytes
        peakAllocatedBytes = max(peakAllocatedBytes, allocatedBytes)
    }

    func didFree(_ bytes: Int) { allocatedBytes -= bytes }

    /// Lets the peak start again from what is allocated now.
    package func resetPeakAllocatedBytes() { peakAllocatedBytes = allocatedBytes }

    /// Whether the host sees the device's own memory, so that it needs no copies: integrated GPUs, software drivers.
    package var mapsDeviceMemory: Bool {
        let wanted =
            VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT.rawValue | VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT.rawValue
            | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT.rawValue
        return info.kind != .discrete && memoryTypes.contains { $0.propertyFlags & wanted == wanted }
    }

    // MARK: Pipelines

    /// The pipeline of a shader with these specialisation constants (ids 0, 1, ...); made once, kept with the device.
    ///
    /// - Parameter subgroupSize: for a kernel that counts on subgroups of this size without idle lanes; only devices with
    ///   `cooperativeMatrices` promise them. Nil for any.
    package func pipeline(
        _ shader: String, words: @autoclosure () -> [UInt32], constants: [UInt32], subgroupSize: Int? = nil
    ) throws -> ComputePipeline {
        let key = ComputePipeline.Key(shader: shader, constants: constants, subgroupSize: subgroupSize)
        if let known = pipelines[key] { return ComputePipeline(device: self, handle: known) }
        let start = ContinuousClock.now
        let made = try ComputePipeline.make(self, key, words())
        pipelineSeconds += (ContinuousClock.now - start) / .seconds(1)
        pipelines[key] = made
        return ComputePipeline(device: self, handle: made)
    }

    /// Keeps the compiled pipelines for the next process; a cache that cannot be written is no error.
    package func savePipelineCache() {
        guard let cacheHandle else { return }
        var size = 0
        guard functions.vkGetPipelineCacheData(handle, cacheHandle, &size, nil) == VK_SUCCESS, size > 0 else { return }
        var data = [UInt8](repeating: 0, count: size)
        guard functions.vkGetPipelineCacheData(handle, cacheHandle, &size, &data) == VK_SUCCESS else { return }
        pipelineCache.save(Array(data.prefix(size)))
    }

    // MARK: Creation

    private static func create(_ physical: VulkanPhysicalDevice, _ family: UInt32) throws -> VkDevice {
        let arena = PointerArena()
        let hasMatrices = !physical.info.cooperativeMatrices.isEmpty
        let flexible = physical.info.flexibleMatrices
        let features = VulkanFeatures(
            arena, cooperativeMatrices: hasMatrices, flexibleMatrices: !flexible.isEmpty)
        features.enableNeeded()
        if hasMatrices { features.enableCooperativeMatrices() }
        if !flexible.isEmpty {
            features.enableFlexibleMatrices(workgroupScope: flexible.contains { $0.threads != nil })
        }
        let extensions =
            (hasMatrices ? [VK_KHR_COOPERATIVE_MATRIX_EXTENSION_NAME] : [])
            + (flexible.isEmpty ? [] : [VK_NV_COOPERATIVE_MATRIX_2_EXTENSION_NAME])
        var queue = VkDeviceQueueCreateInfo()
        queue.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO
        queue.queueFamilyIndex = family
        queue.queueCount = 1
        queue.pQueuePriorities = arena.array([Float(1)])
        var info = VkDeviceCreateInfo()
        info.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO
        info.pNext = features.chain
        info.queueCreateInfoCount = 1
        info.pQueueCreateInfos = arena.value(queue)
        info.enabledExtensionCount = UInt32(extensions.count)
        info.ppEnabledExtensionNames = arena.strings(extensions)
        var handle: VkDevice?
        let result = physical.instance.functions.vkCreateDevice(physical.handle, &info, nil, &handle)
        try check(result, "opening the device \(physical.info.name)")
        guard let handle else { throw CalderaError("The driver gave no device for \(physical.info.name).") }
        return handle
    }

    private static func memoryTypes(_ physical: VulkanPhysicalDevice) -> [VkMemoryType] {
        var properties = VkPhysicalDeviceMemoryProperties()
        physical.instance.functions.vkGetPhysicalDeviceMemoryProperties(physical.handle, &properties)
        return withUnsafeBytes(of: properties.memoryTypes) { bytes in
            Array(bytes.bindMemory(to: VkMemoryType.self).prefix(Int(properties.memoryTypeCount)))
        }
    }

    private static func layout(_ device: VkDevice, _ functions: CVulkanDevice) throws -> VkPipelineLayout {
        let arena = PointerArena()
        let range = VkPushConstantRange(
            stageFlags: VK_SHADER_STAGE_COMPUTE_BIT.rawValue, offset: 0, size: UInt32(pushConstantSize))
        var info = VkPipelineLayoutCreateInfo()
        info.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO
        info.pushConstantRangeCount = 1
        info.pPushConstantRanges = arena.value(range)
        var layout: VkPipelineLayout?
        try check(functions.vkCreatePipelineLayout(device, &info, nil, &layout), "laying out the kernels' constants")
        guard let layout else { throw CalderaError("The driver gave no pipeline layout.") }
        return layout
    }

    /// A cache without contents where the stored ones are refused; none at all where the driver has no memory for it.
    private static func cache(_ device: VkDevice, _ functions: CVulkanDevice, initial: [UInt8]) -> VkPipelineCache? {
        for data in [initial, []] {
            var cache: VkPipelineCache?
            let result = data.withUnsafeBytes { bytes in
                var info = VkPipelineCacheCreateInfo()
                info.sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO
                info.initialDataSize = bytes.count
                info.pInitialData = bytes.isEmpty ? nil : bytes.baseAddress
                return functions.vkCreatePipelineCache(device, &info, nil, &cache)
            }
            if result == VK_SUCCESS { return cache }
        }
        return nil
    }
}
