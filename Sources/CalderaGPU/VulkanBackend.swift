import CalderaGraph
import CalderaVulkan

/// Runs plans on a Vulkan device.
public final class VulkanBackend: Backend {
    let device: VulkanDevice
    let choices: KernelChoices
    private let isStaged: Bool
    let kernels: KernelLibrary
    public let limits: PlanLimits
    public var memoryLimit: Int?
    /// Where set, shapes that no choice is known for are tuned before they are compiled, and this is told what is measured.
    package var tuning: ((String) -> Void)?

    /// Kernels address an allocation's elements with 31 bits: at two bytes each, 4 GiB.
    private static let largestBlock = 1 << 32

    /// - Parameters:
    ///   - memoryLimit: bytes that may be allocated at one time; nil for what the device has.
    ///   - matrixTile: how every matrix is divided whose type it supports, in place of a choice by shape: what a test sets.
    ///   - tuned: the choices of the tuner; nil to choose by shape alone.
    ///   - isStaged: whether weights are copied to the device from buffers that the host sees; nil where the device asks
    ///     for it. A test sets it on a device whose memory the host sees.
    package convenience init(
        device: VulkanDevice, memoryLimit: Int? = nil, matrixTile: MatrixTile? = nil, tuned: TunedKernels? = nil,
        isStaged: Bool? = nil
    ) {
        let choices = KernelChoices(pinned: matrixTile.map { .matrix($0) }, tuned: tuned)
        self.init(device: device, memoryLimit: memoryLimit, choices: choices, isStaged: isStaged, replacement: nil)
    }

    private init(
        device: VulkanDevice, memoryLimit: Int?, choices: KernelChoices, isStaged: Bool?,
        replacement: KernelReplacement?
    ) {
        self.device = device
        kernels = KernelLibrary(replacement: replacement)
        self.memoryLimit = memoryLimit
        self.choices = choices
        self.isStaged = isStaged ?? !device.mapsDeviceMemory
        let block = min(device.info.largestAllocation, VulkanBackend.largestBlock)
        limits = PlanLimits(alignment: 256, blockSize: block / 256 * 256)
    }

    deinit { device.savePipelineCache() }

    public var name: String { device.info.name }
    public var peakMemory: Int { device.peakAllocatedBytes }
    public func resetPeakMemory() { device.resetPeakAllocatedBytes() }

    /// The same device with that variant for everything that it can run.
    package func replacing(_ variant: KernelVariant) -> VulkanBackend {
        VulkanBackend(
            device: device, memoryLimit: memoryLimit, choices: KernelChoices(pinned: variant), isStaged: isStaged,
            replacement: nil)
    }

    /// The same device with a shader in a kernel's place. The shader gets what the kernel would, and every output holds
    /// values that are not numbers until it is written.
    package func replacing(_ replacement: KernelReplacement) -> VulkanBackend {
        VulkanBackend(
            device: device, memoryLimit: memoryLimit, choices: choices, isStaged: isStaged,
            replacement: replacement)
    }

    /// Bytes that work has to go through for nothing of it to be found in a cache again: more than the last cache of any
    /// GPU holds; nil for a software driver, whose caches are the processor's.
    package var cacheSize: Int? { device.info.kind == .software ? nil : VulkanBackend.largestCache }

    /// Seconds that the driver has spent on compiling kernels so far.
    package var pipelineSeconds: Double { device.pipelineSeconds }

    /// What is left of the device's memory, or of the limit where that is less. Nil for a software driver without a
    /// limit: the heap that lavapipe reports says nothing of the host memory that it takes from.
    public var availableMemory: Int? {
        let heap = device.info.kind == .software ? nil : device.info.memory
        return [heap, memoryLimit].compactMap { $0 }.min().map { max(0, $0 - device.allocatedBytes) }
    }

    public func forecast(_ plan: Plan, weights: any WeightSource, budget: Int?) throws -> MemoryForecast {
        try memoryPlan(plan, budget: budget).forecast
    }

    /// Throws `CalderaError` for a bf16 plan, when the device has no memory left, or a weight cannot be read.
    public func compile(_ plan: Plan, weights: any WeightSource, budget: Int?) throws -> any Executable {
        if let tuning { try tune(plan, progress: tuning) }
        let memoryPlan = try memoryPlan(plan, budget: budget)
        try memoryPlan.forecast.check(budget: budget, on: name)
        let memory = try ExecutableMemory(device, plan, weights, memoryPlan)
        let states = try StateSnapshot(device, plan, memory, isStaged: isStaged)
        let recorder = PlanRecorder(device, plan, memory, states, kernels, lowering(plan, memory))
        let executable = try VulkanExecutable(device, plan, memory, states, recorder)
        if kernels.replacement != nil { try executable.spoilOutputs() }
        return executable
    }

    private func memoryPlan(_ plan: Plan, budget: Int?) throws -> DeviceMemoryPlan {
        guard plan.dtype != .bfloat16 else {
            throw CalderaError(
                "Vulkan computes in fp16 or fp32, not in bf16: use --precision fp16, --precision fp32 or --device cpu.",
                kind: .usage)
        }
        let census = try MemoryCensus(plan) { lowering(plan, $0) }
        return DeviceMemoryPlan(plan, census, on: device, isStaged: isStaged, budget: budget)
    }

    private func lowering(_ plan: Plan, _ memory: any OperandSource) -> Lowering {
        Lowering(device: device.info, plan: plan, memory: memory, choices: choices)
    }

    func dispatches(of node: Node, in plan: Plan) throws -> [Dispatch] {
        try lowering(plan, DescribedMemory(plan: plan)).dispatches(for: node)
    }

    public func describe(_ node: Node, in plan: Plan) -> String {
        do {
            let summaries = try dispatches(of: node, in: plan).map { $0.summary(title: kernels.title($0.kernel)) }
            return summaries.isEmpty ? "nothing: the value lies there already" : summaries.joined(separator: ", ")
        } catch {
            return "\(error)"
        }
    }
}
