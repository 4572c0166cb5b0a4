import CalderaGraph
import CalderaVulkan

/// Runs plans on a Vulkan device.
public final class VulkanBackend: Backend {
    private let device: VulkanDevice
    private let matrixTile: MatrixTile?
    private var shaders: [String: [UInt32]] = [:]
    public let limits: PlanLimits

    /// Kernels address an allocation's elements with 31 bits: at two bytes each, 4 GiB.
    private static let largestBlock = 1 << 32

    /// - Parameter matrixTile: how every matrix is divided, in place of a choice by shape: what a test or a tuner sets.
    package init(device: VulkanDevice, matrixTile: MatrixTile? = nil) {
        self.device = device
        self.matrixTile = matrixTile
        let block = min(device.info.largestAllocation, VulkanBackend.largestBlock)
        limits = PlanLimits(alignment: 256, blockSize: block / 256 * 256)
    }

    deinit { device.savePipelineCache() }

    public var name: String { device.info.name }
    public var peakMemory: Int { device.peakAllocatedBytes }

    /// Nil for a software driver: the heap that lavapipe reports says nothing of the host memory that it takes from.
    public var availableMemory: Int? {
        device.info.kind == .software ? nil : max(0, device.info.memory - device.allocatedBytes)
    }

    /// Throws `CalderaError` for a bf16 plan, when the device has no memory left, or a weight cannot be read.
    public func compile(_ plan: Plan, weights: any WeightSource) throws -> any Executable {
        guard plan.dtype != .bfloat16 else {
            throw CalderaError(
                "Vulkan computes in fp16 or fp32, not in bf16: use --precision fp16, --precision fp32 or --device cpu.",
                kind: .usage)
        }
        let memory = try ExecutableMemory(device, plan, weights)
        let lowering = Lowering(device: device.info, plan: plan, memory: memory, matrixTile: matrixTile)
        let prompt = try record(plan.promptNodes, lowering)
        let step = try record(plan.stepNodes, lowering)
        try memory.weights.finish()
        return try VulkanExecutable(device, plan, memory, prompt: prompt, step: step)
    }

    public func describe(_ node: Node, in plan: Plan) -> String {
        let lowering = Lowering(
            device: device.info, plan: plan, memory: DescribedMemory(plan: plan), matrixTile: matrixTile)
        do {
            let summaries = try lowering.dispatches(for: node).map(\.summary)
            return summaries.isEmpty ? "nothing: the value lies there already" : summaries.joined(separator: ", ")
        } catch {
            return "\(error)"
        }
    }

    // MARK: Recording

    private func record(_ nodes: [Node], _ lowering: Lowering) throws -> Recording {
        var hazards = HazardTracker()
        var steps: [Recording.Step] = []
        let commands = try CommandBuffer(device) { recorder in
            recorder.barrier()
            for node in nodes {
                for dispatch in try lowering.dispatches(for: node) where dispatch.groups > 0 {
                    let needsBarrier = hazards.needsBarrier(
                        reads: dispatch.reads.map(\.range), writes: dispatch.writes.map(\.range))
                    if needsBarrier { recorder.barrier() }
                    recorder.dispatch(
                        try pipeline(dispatch, node), constants: dispatch.push.bytes,
                        groups: device.info.folded(dispatch.groups))
                    steps.append(
                        Recording.Step(label: node.label, kernel: dispatch.summary, followsBarrier: needsBarrier))
                }
            }
            recorder.hostBarrier()
        }
        return Recording(commands: commands, steps: steps)
    }

    private func pipeline(_ dispatch: Dispatch, _ node: Node) throws -> ComputePipeline {
        do {
            let words = try words(dispatch.kernel)
            return try device.pipeline(dispatch.kernel, words: words, constants: dispatch.constants)
        } catch let error as CalderaError {
            throw CalderaError("\(node.label): \(error.message)", kind: error.kind)
        }
    }

    private func words(_ kernel: String) throws -> [UInt32] {
        if let known = shaders[kernel] { return known }
        guard let words = KernelBinaries.words(kernel) else {
            throw CalderaError("This build of Caldera has no kernel named \(kernel).")
        }
        shaders[kernel] = words
        return words
    }
}

/// A stage's commands, and what each of its kernels is for.
struct Recording {
    struct Step {
        /// The layer.
        let label: String
        let kernel: String
        let followsBarrier: Bool
    }

    let commands: CommandBuffer
    let steps: [Step]
}
