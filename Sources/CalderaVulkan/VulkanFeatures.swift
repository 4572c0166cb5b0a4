import CVulkan

/// The features that Caldera reads and enables, chained as Vulkan wants them.
final class VulkanFeatures {
    private let base: UnsafeMutablePointer<VkPhysicalDeviceFeatures2>
    private let vulkan11: UnsafeMutablePointer<VkPhysicalDeviceVulkan11Features>
    private let vulkan12: UnsafeMutablePointer<VkPhysicalDeviceVulkan12Features>
    private let vulkan13: UnsafeMutablePointer<VkPhysicalDeviceVulkan13Features>
    private let matrices: UnsafeMutablePointer<VkPhysicalDeviceCooperativeMatrixFeaturesKHR>
    private let flexible: UnsafeMutablePointer<VkPhysicalDeviceCooperativeMatrix2FeaturesNV>

    /// - Parameters:
    ///   - cooperativeMatrices: whether the device has that extension; without it nobody may ask for its features.
    ///   - flexibleMatrices: the same for VK_NV_cooperative_matrix2, which builds on it.
    ///
    /// The chain lives as long as the arena.
    init(_ arena: PointerArena, cooperativeMatrices: Bool, flexibleMatrices: Bool) {
        flexible = arena.result(VkPhysicalDeviceCooperativeMatrix2FeaturesNV())
        flexible.pointee.sType = CALDERA_STRUCTURE_TYPE_COOPERATIVE_MATRIX_2_FEATURES
        matrices = arena.result(VkPhysicalDeviceCooperativeMatrixFeaturesKHR())
        matrices.pointee.sType = CALDERA_STRUCTURE_TYPE_COOPERATIVE_MATRIX_FEATURES
        if flexibleMatrices { matrices.pointee.pNext = UnsafeMutableRawPointer(flexible) }
        vulkan13 = arena.result(VkPhysicalDeviceVulkan13Features())
        vulkan13.pointee.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_FEATURES
        if cooperativeMatrices { vulkan13.pointee.pNext = UnsafeMutableRawPointer(matrices) }
        vulkan12 = arena.result(VkPhysicalDeviceVulkan12Features())
        vulkan12.pointee.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES
        vulkan12.pointee.pNext = UnsafeMutableRawPointer(vulkan13)
        vulkan11 = arena.result(VkPhysicalDeviceVulkan11Features())
        vulkan11.pointee.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES
        vulkan11.pointee.pNext = UnsafeMutableRawPointer(vulkan12)
        base = arena.result(VkPhysicalDeviceFeatures2())
        base.pointee.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2
        base.pointee.pNext = UnsafeMutableRawPointer(vulkan11)
    }

    var chain: UnsafeRawPointer { UnsafeRawPointer(base) }

    /// Fills in what the device has.
    func read(_ functions: CVulkanInstance, _ device: VkPhysicalDevice) {
        functions.vkGetPhysicalDeviceFeatures2(device, base)
    }

    /// Asks for just what Caldera needs; every usable device has it.
    func enableNeeded() {
        let on = VkBool32(VK_TRUE)
        base.pointee.features.shaderInt64 = on
        vulkan11.pointee.storageBuffer16BitAccess = on
        vulkan12.pointee.shaderFloat16 = on
        vulkan12.pointee.bufferDeviceAddress = on
        vulkan12.pointee.timelineSemaphore = on
        vulkan13.pointee.synchronization2 = on
        // glslang states workgroup sizes in a way that needs this; Vulkan 1.3 demands it of every device.
        vulkan13.pointee.maintenance4 = on
    }

    /// Asks for what kernels with cooperative matrices need beside that: glslang builds them for Vulkan's memory model, and
    /// the matrices belong to subgroups of one size without idle lanes.
    func enableCooperativeMatrices() {
        let on = VkBool32(VK_TRUE)
        vulkan12.pointee.vulkanMemoryModel = on
        vulkan13.pointee.subgroupSizeControl = on
        vulkan13.pointee.computeFullSubgroups = on
        matrices.pointee.cooperativeMatrix = on
    }

    /// Whether `enableCooperativeMatrices` may be called.
    var cooperativeMatrices: Bool {
        matrices.pointee.cooperativeMatrix != 0 && vulkan12.pointee.vulkanMemoryModel != 0
            && vulkan13.pointee.subgroupSizeControl != 0 && vulkan13.pointee.computeFullSubgroups != 0
    }

    /// Asks for what kernels with matrices of flexible size need beside that.
    func enableFlexibleMatrices(workgroupScope: Bool) {
        flexible.pointee.cooperativeMatrixFlexibleDimensions = VkBool32(VK_TRUE)
        flexible.pointee.cooperativeMatrixPerElementOperations = VkBool32(VK_TRUE)
        flexible.pointee.cooperativeMatrixWorkgroupScope = workgroupScope ? VkBool32(VK_TRUE) : VkBool32(VK_FALSE)
    }

    /// Whether `enableFlexibleMatrices` may be called, after `enableCooperativeMatrices`.
    var flexibleMatrices: Bool {
        flexible.pointee.cooperativeMatrixFlexibleDimensions != 0
            && flexible.pointee.cooperativeMatrixPerElementOperations != 0
    }

    /// Whether a matrix may belong to a whole workgroup.
    var workgroupMatrices: Bool { flexible.pointee.cooperativeMatrixWorkgroupScope != 0 }

    var int64: Bool { base.pointee.features.shaderInt64 != 0 }
    var float16Storage: Bool { vulkan11.pointee.storageBuffer16BitAccess != 0 }
    var float16Arithmetic: Bool { vulkan12.pointee.shaderFloat16 != 0 }
    var bufferDeviceAddress: Bool { vulkan12.pointee.bufferDeviceAddress != 0 }
    var timelineSemaphore: Bool { vulkan12.pointee.timelineSemaphore != 0 }
    var synchronization2: Bool { vulkan13.pointee.synchronization2 != 0 }
}
