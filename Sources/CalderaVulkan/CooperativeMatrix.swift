import CVulkan

/// A size of the matrices that a subgroup multiplies together: fp16 [rows, depth] times [depth, columns] into fp32.
package struct CooperativeMatrix: Sendable, Hashable {
    package let rows: Int
    package let columns: Int
    package let depth: Int

    package init(rows: Int, columns: Int, depth: Int) {
        self.rows = rows
        self.columns = columns
        self.depth = depth
    }
}

extension VkCooperativeMatrixPropertiesKHR {
    /// Every kind that the device lists.
    static func all(
        of device: VkPhysicalDevice, _ functions: CVulkanInstance
    ) -> [VkCooperativeMatrixPropertiesKHR] {
        guard let list = functions.vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR,
            extensions(of: device, functions).contains(VK_KHR_COOPERATIVE_MATRIX_EXTENSION_NAME)
        else { return [] }
        var count: UInt32 = 0
        guard list(device, &count, nil) == VK_SUCCESS else { return [] }
        var empty = VkCooperativeMatrixPropertiesKHR()
        empty.sType = CALDERA_STRUCTURE_TYPE_COOPERATIVE_MATRIX_PROPERTIES
        var shapes = [VkCooperativeMatrixPropertiesKHR](repeating: empty, count: Int(count))
        guard list(device, &count, &shapes) == VK_SUCCESS else { return [] }
        return Array(shapes.prefix(Int(count)))
    }

    var isOfHalves: Bool {
        AType == VK_COMPONENT_TYPE_FLOAT16_KHR && BType == VK_COMPONENT_TYPE_FLOAT16_KHR
    }

    /// Whether the kernels of Shaders/include/matrix_cooperative.glsl can be specialised for it.
    var isUsable: Bool {
        isOfHalves && CType == VK_COMPONENT_TYPE_FLOAT32_KHR && ResultType == VK_COMPONENT_TYPE_FLOAT32_KHR
            && scope == VK_SCOPE_SUBGROUP_KHR && saturatingAccumulation == 0
            && MSize > 0 && NSize.isMultiple(of: 4) && NSize > 0 && KSize.isMultiple(of: 8) && KSize > 0
    }

    var description: String {
        let result = ResultType == VK_COMPONENT_TYPE_FLOAT32_KHR ? "fp32" : "fp16"
        return "\(MSize)x\(NSize)x\(KSize) fp16 -> \(result)"
    }
}

/// The names of the extensions that a device has.
func extensions(of device: VkPhysicalDevice, _ functions: CVulkanInstance) -> Set<String> {
    var count: UInt32 = 0
    guard functions.vkEnumerateDeviceExtensionProperties(device, nil, &count, nil) == VK_SUCCESS else { return [] }
    var found = [VkExtensionProperties](repeating: VkExtensionProperties(), count: Int(count))
    guard functions.vkEnumerateDeviceExtensionProperties(device, nil, &count, &found) == VK_SUCCESS else { return [] }
    return Set(found.map { stringFromTuple($0.extensionName) })
}
