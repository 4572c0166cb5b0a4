import CalderaGraph
import CalderaVulkan

/// Runs plans on a Vulkan device, in fp16 or fp32 storage with fp32 accumulation.
public final class VulkanBackend: Backend {
    package let device: VulkanDevice
    let choice: KernelChoice

    package init(device: VulkanDevice) {
        self.device = device
        choice = KernelChoice(device.info)
    }

    deinit { device.savePipelineCache() }

    public var name: String { device.info.name }

    /// Values are aligned for the widest loads; a block is one allocation, and its elements' indices fit 32 bits.
    public var limits: PlanLimits {
        PlanLimits(alignment: 256, blockSize: min(device.info.largestAllocation, 2 << 30))
    }

    public var peakMemory: Int { device.peakAllocatedBytes }

    public var availableMemory: Int? { device.info.memory - device.allocatedBytes }

    public func compile(_ plan: Plan, weights: any WeightSource) throws -> any Executable {
        try check(plan)
        return try VulkanExecutable(self, plan, weights)
    }

    public func describe(_ node: Node, in plan: Plan) -> String {
        let addresses = NodeAddresses(node: node, inputs: [], output: ByteRange(start: 0, count: 0))
        let calls = try? Lowering(plan: plan, choice: choice, scratch: nil).calls(node, addresses)
        return calls.map { $0.map { "\($0.shader) \($0.detail)".trimmed }.joined(separator: ", ") } ?? node.op.name
    }

    private func check(_ plan: Plan) throws {
        guard plan.dtype == .float16 || plan.dtype == .float32 else {
            throw CalderaError.usage(
                "Vulkan computes in fp16 or fp32, not \(plan.dtype.rawValue): choose --precision fp16.")
        }
    }
}

extension String {
    var trimmed: String { hasSuffix(" ") ? String(dropLast()) : self }
}
