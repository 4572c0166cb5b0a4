import CVulkan
import CalderaGraph

/// What Caldera wants to know of a device before it uses it.
package struct VulkanDeviceInfo: Sendable {
    package enum Kind: String, Sendable {
        case discrete, integrated, virtual, software, other
    }

    package var name = ""
    package var kind = Kind.other
    /// The driver's name and version, as it gives them.
    package var driver = ""
    package var apiVersion = ""
    /// Bytes of the largest device-local heap.
    package var memory = 0
    /// Bytes of the largest allocation that can be one buffer.
    package var largestAllocation = 0
    package var subgroupSize = 0
    /// Whether kernels can read another lane's value.
    package var subgroupBroadcast = false
    /// Whether a kernel can ask for that size and no other.
    package var fixesSubgroupSize = false
    /// Bytes of shared memory of a workgroup.
    package var sharedMemory = 0
    package var maxWorkgroupInvocations = 0
    package var maxWorkgroupCount: (Int, Int, Int) = (65_535, 65_535, 65_535)
    /// Bits that count in a timestamp of the compute queue, 0 where it has none, and nanoseconds of one tick.
    package var timestampBits = 0
    package var timestampPeriod = 0.0
    package var float16Arithmetic = false
    package var float16Storage = false
    /// "16x16x16 fp16 -> fp32", as the device lists them.
    package var cooperativeMatrixShapes: [String] = []
    /// Those of them that Caldera's kernels can use; empty where the device lacks another feature that they need.
    package var cooperativeMatrices: [CooperativeMatrix] = []
    /// The kinds of flexible matrices that Caldera's kernels can use; empty where `cooperativeMatrices` is.
    package var flexibleMatrices: [FlexibleMatrix] = []
    /// The largest side of a flexible matrix.
    package var flexibleSide = 0
    /// Bytes of shared memory that kernels whose matrices belong to workgroups have to leave to the driver.
    package var reservedSharedMemory = 0
    /// Why Caldera cannot use the device; nil when it can.
    package var unusableReason: String?
    /// What the pipeline cache on disk is bound to: vendor, device and driver.
    package var cacheIdentity: [UInt8] = []
}

/// A device as the instance lists it.
package struct VulkanPhysicalDevice: @unchecked Sendable {
    let instance: VulkanInstance
    let handle: VkPhysicalDevice
    /// Its place in the instance's list.
    package let index: Int
    package let info: VulkanDeviceInfo

    init(instance: VulkanInstance, handle: VkPhysicalDevice, index: Int) {
        self.instance = instance
        self.handle = handle
        self.index = index
        let family = VulkanPhysicalDevice.computeFamily(instance.functions, handle)
        computeQueueFamily = family?.index
        var info = VulkanDeviceInfo(instance.functions, handle)
        info.timestampBits = family?.timestampBits ?? 0
        if family == nil { info.unusableReason = info.unusableReason ?? "it lacks a compute queue" }
        self.info = info
    }

    /// The queue family to use: one for compute alone where there is one, as it runs beside the desktop's work.
    let computeQueueFamily: UInt32?

    private static func computeFamily(
        _ functions: CVulkanInstance, _ device: VkPhysicalDevice
    ) -> (index: UInt32, timestampBits: Int)? {
        var count: UInt32 = 0
        functions.vkGetPhysicalDeviceQueueFamilyProperties(device, &count, nil)
        var families = [VkQueueFamilyProperties](repeating: VkQueueFamilyProperties(), count: Int(count))
        functions.vkGetPhysicalDeviceQueueFamilyProperties(device, &count, &families)
        let compute = families.indices.filter { families[$0].queueFlags & VK_QUEUE_COMPUTE_BIT.rawValue != 0 }
        let alone = compute.first { families[$0].queueFlags & VK_QUEUE_GRAPHICS_BIT.rawValue == 0 }
        return (alone ?? compute.first).map { (UInt32($0), Int(families[$0].timestampValidBits)) }
    }
}

extension VulkanDeviceInfo {
    fileprivate init(_ functions: CVulkanInstance, _ device: VkPhysicalDevice) {
        let arena = PointerArena()
        readProperties(functions, device, arena)
        readMemory(functions, device)
        let listed = VkCooperativeMatrixPropertiesKHR.all(of: device, functions)
        let features = VulkanFeatures(
            arena, cooperativeMatrices: !listed.isEmpty,
            flexibleMatrices: !listed.isEmpty && FlexibleMatrix.isListed(device, functions))
        features.read(functions, device)
        let missing = missingFeatures(features)
        if !missing.isEmpty { unusableReason = "it lacks " + missing.joined(separator: ", ") }
        cooperativeMatrixShapes = listed.filter(\.isOfHalves).map(\.description)
        if features.cooperativeMatrices && fixesSubgroupSize {
            cooperativeMatrices = listed.filter(\.isUsable).map {
                CooperativeMatrix(rows: Int($0.MSize), columns: Int($0.NSize), depth: Int($0.KSize))
            }
        }
        if !cooperativeMatrices.isEmpty && features.flexibleMatrices {
            flexibleMatrices = FlexibleMatrix.all(of: device, functions).filter {
                $0.threads == nil || features.workgroupMatrices
            }
            (flexibleSide, reservedSharedMemory) = FlexibleMatrix.limits(of: device, functions)
        }
    }

    private mutating func readProperties(
        _ functions: CVulkanInstance, _ device: VkPhysicalDevice, _ arena: PointerArena
    ) {
        let vulkan13 = arena.result(VkPhysicalDeviceVulkan13Properties())
        vulkan13.pointee.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_PROPERTIES
        let vulkan12 = arena.result(VkPhysicalDeviceVulkan12Properties())
        vulkan12.pointee.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_PROPERTIES
        vulkan12.pointee.pNext = UnsafeMutableRawPointer(vulkan13)
        let vulkan11 = arena.result(VkPhysicalDeviceVulkan11Properties())
        vulkan11.pointee.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_PROPERTIES
        vulkan11.pointee.pNext = UnsafeMutableRawPointer(vulkan12)
        let properties = arena.result(VkPhysicalDeviceProperties2())
        properties.pointee.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2
        properties.pointee.pNext = UnsafeMutableRawPointer(vulkan11)
        functions.vkGetPhysicalDeviceProperties2(device, properties)
        let base = properties.pointee.properties
        name = stringFromTuple(base.deviceName)
        kind = Kind(base.deviceType)
        driver = [stringFromTuple(vulkan12.pointee.driverName), stringFromTuple(vulkan12.pointee.driverInfo)]
            .filter { !$0.isEmpty }.joined(separator: " ")
        let version = base.apiVersion
        apiVersion =
            "\(cvulkan_version_major(version)).\(cvulkan_version_minor(version)).\(cvulkan_version_patch(version))"
        subgroupSize = Int(vulkan11.pointee.subgroupSize)
        let compute = VK_SHADER_STAGE_COMPUTE_BIT.rawValue
        fixesSubgroupSize = vulkan13.pointee.requiredSubgroupSizeStages & compute != 0
        let operations = vulkan11.pointee.subgroupSupportedOperations
        subgroupBroadcast = operations & VK_SUBGROUP_FEATURE_BALLOT_BIT.rawValue != 0
        largestAllocation = Int(
            clamping: min(vulkan11.pointee.maxMemoryAllocationSize, vulkan13.pointee.maxBufferSize))
        sharedMemory = Int(base.limits.maxComputeSharedMemorySize)
        maxWorkgroupInvocations = Int(base.limits.maxComputeWorkGroupInvocations)
        timestampPeriod = Double(base.limits.timestampPeriod)
        let counts = base.limits.maxComputeWorkGroupCount
        maxWorkgroupCount = (Int(counts.0), Int(counts.1), Int(counts.2))
        cacheIdentity =
            withUnsafeBytes(of: (base.vendorID, base.deviceID, base.driverVersion)) { Array($0) }
            + withUnsafeBytes(of: base.pipelineCacheUUID) { Array($0) }
    }

    private mutating func readMemory(_ functions: CVulkanInstance, _ device: VkPhysicalDevice) {
        var properties = VkPhysicalDeviceMemoryProperties()
        functions.vkGetPhysicalDeviceMemoryProperties(device, &properties)
        let heaps = withUnsafeBytes(of: properties.memoryHeaps) { bytes in
            Array(bytes.bindMemory(to: VkMemoryHeap.self).prefix(Int(properties.memoryHeapCount)))
        }
        let local = heaps.filter { $0.flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT.rawValue != 0 }
        memory = local.map { Int(clamping: $0.size) }.max() ?? 0
    }

    /// The names of what Caldera needs and the device has not.
    private mutating func missingFeatures(_ features: VulkanFeatures) -> [String] {
        float16Storage = features.float16Storage
        float16Arithmetic = features.float16Arithmetic
        let needed: [(Bool, String)] = [
            (features.float16Storage, "16-bit storage"), (features.float16Arithmetic, "fp16 arithmetic"),
            (features.bufferDeviceAddress, "buffer device addresses"), (features.int64, "64-bit integers"),
            (features.timelineSemaphore, "timeline semaphores"), (features.synchronization2, "synchronization2"),
        ]
        let parts = apiVersion.split(separator: ".").compactMap { Int($0) }
        let isCurrent = parts.count >= 2 && (parts[0], parts[1]) >= (1, 3)
        if !isCurrent { return ["Vulkan 1.3 (it has \(apiVersion))"] }
        return needed.filter { !$0.0 }.map(\.1)
    }
}

extension VulkanDeviceInfo.Kind {
    fileprivate init(_ type: VkPhysicalDeviceType) {
        switch type {
        case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU: self = .discrete
        case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU: self = .integrated
        case VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU: self = .virtual
        case VK_PHYSICAL_DEVICE_TYPE_CPU: self = .software
        default: self = .other
        }
    }
}
