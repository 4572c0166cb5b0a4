import CVulkan

/// A kind of matrices of VK_NV_cooperative_matrix2: fp16 times fp16 into fp32, of any size whose sides are multiples of
/// these.
package struct FlexibleMatrix: Sendable, Hashable, CustomStringConvertible {
    package let rows: Int
    package let columns: Int
    package let depth: Int
    /// The threads of the workgroup to which a matrix belongs; nil where it belongs to a subgroup.
    package let threads: Int?

    package init(rows: Int, columns: Int, depth: Int, threads: Int?) {
        self.rows = rows
        self.columns = columns
        self.depth = depth
        self.threads = threads
    }

    package var description: String {
        "multiples of \(rows)x\(columns)x\(depth) " + (threads.map { "in workgroups of \($0)" } ?? "in subgroups")
    }
}

extension FlexibleMatrix {
    static func isListed(_ device: VkPhysicalDevice, _ functions: CVulkanInstance) -> Bool {
        functions.vkGetPhysicalDeviceCooperativeMatrixFlexibleDimensionsPropertiesNV != nil
            && extensions(of: device, functions).contains(VK_NV_COOPERATIVE_MATRIX_2_EXTENSION_NAME)
    }

    /// Those that the kernels of Shaders/include/matrix_cooperative.glsl can be specialised for.
    static func all(of device: VkPhysicalDevice, _ functions: CVulkanInstance) -> [FlexibleMatrix] {
        guard isListed(device, functions),
            let list = functions.vkGetPhysicalDeviceCooperativeMatrixFlexibleDimensionsPropertiesNV
        else { return [] }
        var count: UInt32 = 0
        guard list(device, &count, nil) == VK_SUCCESS else { return [] }
        var empty = VkCooperativeMatrixFlexibleDimensionsPropertiesNV()
        empty.sType = CALDERA_STRUCTURE_TYPE_FLEXIBLE_DIMENSIONS_PROPERTIES
        var kinds = [VkCooperativeMatrixFlexibleDimensionsPropertiesNV](repeating: empty, count: Int(count))
        guard list(device, &count, &kinds) == VK_SUCCESS else { return [] }
        return kinds.prefix(Int(count)).compactMap(FlexibleMatrix.init)
    }

    /// The largest side of a matrix, and the bytes of shared memory that the driver keeps for itself where matrices
    /// belong to workgroups.
    static func limits(of device: VkPhysicalDevice, _ functions: CVulkanInstance) -> (side: Int, reserved: Int) {
        let arena = PointerArena()
        let limits = arena.result(VkPhysicalDeviceCooperativeMatrix2PropertiesNV())
        limits.pointee.sType = CALDERA_STRUCTURE_TYPE_COOPERATIVE_MATRIX_2_PROPERTIES
        let properties = arena.result(VkPhysicalDeviceProperties2())
        properties.pointee.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2
        properties.pointee.pNext = UnsafeMutableRawPointer(limits)
        functions.vkGetPhysicalDeviceProperties2(device, properties)
        return (
            Int(limits.pointee.cooperativeMatrixFlexibleDimensionsMaxDimension),
            Int(limits.pointee.cooperativeMatrixWorkgroupScopeReservedSharedMemory)
        )
    }

    private init?(_ kind: VkCooperativeMatrixFlexibleDimensionsPropertiesNV) {
        let isOfHalves = kind.AType == VK_COMPONENT_TYPE_FLOAT16_KHR && kind.BType == VK_COMPONENT_TYPE_FLOAT16_KHR
        let sums = kind.CType == VK_COMPONENT_TYPE_FLOAT32_KHR && kind.ResultType == VK_COMPONENT_TYPE_FLOAT32_KHR
        let isOfWorkgroup = kind.scope.rawValue == CALDERA_SCOPE_WORKGROUP
        guard isOfHalves, sums, isOfWorkgroup || kind.scope == VK_SCOPE_SUBGROUP_KHR, kind.saturatingAccumulation == 0,
            kind.MGranularity > 0, kind.NGranularity > 0, kind.KGranularity > 0
        else { return nil }
        self.init(
            rows: Int(kind.MGranularity), columns: Int(kind.NGranularity), depth: Int(kind.KGranularity),
            threads: isOfWorkgroup ? Int(kind.workgroupInvocations) : nil)
    }
}
