import CVulkan
import CalderaGraph

/// A compiled kernel. The device owns it; this keeps the device alive.
package struct ComputePipeline {
    struct Key: Hashable {
        let shader: String
        let constants: [UInt32]
        let subgroupSize: Int?
    }

    struct Handle {
        let pipeline: VkPipeline
    }

    let device: VulkanDevice
    let handle: Handle

    static func make(_ device: VulkanDevice, _ key: Key, _ words: [UInt32]) throws -> Handle {
        let functions = device.functions
        let module = try shaderModule(device, key.shader, words)
        defer { functions.vkDestroyShaderModule(device.handle, module, nil) }
        let arena = PointerArena()
        let entries = key.constants.indices.map { index in
            VkSpecializationMapEntry(constantID: UInt32(index), offset: UInt32(4 * index), size: 4)
        }
        var specialization = VkSpecializationInfo()
        specialization.mapEntryCount = UInt32(entries.count)
        specialization.pMapEntries = arena.array(entries)
        specialization.dataSize = 4 * key.constants.count
        specialization.pData = UnsafeRawPointer(arena.array(key.constants))
        var stage = VkPipelineShaderStageCreateInfo()
        stage.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO
        stage.stage = VK_SHADER_STAGE_COMPUTE_BIT
        stage.module = module
        stage.pName = arena.string("main")
        stage.pSpecializationInfo = arena.value(specialization)
        if let size = key.subgroupSize {
            var required = VkPipelineShaderStageRequiredSubgroupSizeCreateInfo()
            required.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_REQUIRED_SUBGROUP_SIZE_CREATE_INFO
            required.requiredSubgroupSize = UInt32(size)
            stage.pNext = UnsafeRawPointer(arena.value(required))
            stage.flags = VK_PIPELINE_SHADER_STAGE_CREATE_REQUIRE_FULL_SUBGROUPS_BIT.rawValue
        }
        var info = VkComputePipelineCreateInfo()
        info.sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO
        info.stage = stage
        info.layout = device.pipelineLayout
        var pipeline: VkPipeline?
        let result = functions.vkCreateComputePipelines(device.handle, device.cacheHandle, 1, &info, nil, &pipeline)
        try check(result, "compiling the kernel \(key.shader)")
        guard let pipeline else { throw CalderaError("The driver gave no pipeline for the kernel \(key.shader).") }
        return Handle(pipeline: pipeline)
    }

    private static func shaderModule(_ device: VulkanDevice, _ name: String, _ words: [UInt32]) throws -> VkShaderModule
    {
        var module: VkShaderModule?
        let result = words.withUnsafeBufferPointer { buffer in
            var info = VkShaderModuleCreateInfo()
            info.sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO
            info.codeSize = 4 * buffer.count
            info.pCode = buffer.baseAddress
            return device.functions.vkCreateShaderModule(device.handle, &info, nil, &module)
        }
        try check(result, "loading the kernel \(name)")
        guard let module else { throw CalderaError("The driver gave no module for the kernel \(name).") }
        return module
    }
}
