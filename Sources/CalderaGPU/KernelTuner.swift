import CalderaGraph
import CalderaVulkan

/// Finds the fastest variant of a node by running each on the device, alone, over memory that holds no model.
struct KernelTuner {
    let device: VulkanDevice
    let kernels: KernelLibrary
    let plan: Plan

    /// How much faster than the choice by shape another variant must be to be taken: less is chance.
    private static let gain = 0.97
    /// A variant that took so many times as long as the best is not run again.
    private static let hopeless = 1.5
    /// Seconds for which a variant is run again and again, and how often at least and at most.
    private static let time = 0.02
    private static let runs = (least: 3, most: 20)
    /// Sets of operands that a run goes through at most, so that none is found in a cache.
    private static let mostCopies = 8

    /// The first of the variants unless another one is clearly faster; nil where none could be run.
    /// Throws `CalderaError` when the device fails or has no memory or no clock.
    func fastest(of variants: [KernelVariant], for node: Node) throws -> KernelVariant? {
        let timer = try DeviceTimer(device)
        let memory = try memory(variants, node)
        var best: (variant: KernelVariant, seconds: Double)?
        for (index, variant) in variants.enumerated() {
            let commands = try recording(variant, node, memory, timer)
            var seconds = try timer.seconds(commands)
            if let best, seconds > best.seconds * KernelTuner.hopeless { continue }
            let wanted = Int(min(KernelTuner.time / max(seconds, 1e-6), 1000))
            let runs = min(max(wanted, KernelTuner.runs.least), KernelTuner.runs.most)
            for _ in 0..<runs { seconds = min(seconds, try timer.seconds(commands)) }
            let bound = best.map { $0.seconds * (index > 0 && $0.variant == variants[0] ? KernelTuner.gain : 1) }
            if seconds < bound ?? .infinity { best = (variant, seconds) }
        }
        return best?.variant
    }

    /// Memory for the variant that asks for most, several times where caches are to be left behind.
    private func memory(_ variants: [KernelVariant], _ node: Node) throws -> TuningMemory {
        let sizes = try variants.map { variant in
            let census = TuningMemory()
            _ = try lowering(variant, census).dispatches(for: node)
            return census.used
        }
        let size = max(sizes.max() ?? 0, 1)
        let cache = device.info.kind == .software ? 0 : VulkanBackend.largestCache
        let copies = max(1, min(KernelTuner.mostCopies, divideUp(cache, size)))
        return try TuningMemory(device, setSize: size, copies: copies)
    }

    private func recording(
        _ variant: KernelVariant, _ node: Node, _ memory: TuningMemory, _ timer: DeviceTimer
    ) throws -> CommandBuffer {
        let lowering = lowering(variant, memory)
        return try timer.recording { recorder in
            for copy in 0..<memory.copies {
                memory.begin(copy)
                for dispatch in try lowering.dispatches(for: node) where dispatch.groups > 0 {
                    let words = try kernels.words(dispatch.kernel)
                    let pipeline = try device.pipeline(
                        kernels.identity(dispatch.kernel), words: words,
                        constants: dispatch.constants, subgroupSize: dispatch.subgroupSize)
                    recorder.dispatch(
                        pipeline, constants: dispatch.push.bytes, groups: device.info.folded(dispatch.groups))
                    // As in a model, where the next layer waits for this one.
                    recorder.barrier()
                }
            }
        }
    }

    private func lowering(_ variant: KernelVariant, _ memory: TuningMemory) -> Lowering {
        Lowering(device: device.info, plan: plan, memory: memory, choices: KernelChoices(pinned: variant))
    }
}

/// Gives operands out of one buffer, in the order in which a node's lowering asks for them: sets of them side by side.
/// Without a buffer it only counts.
private final class TuningMemory: OperandSource {
    let copies: Int
    private(set) var used = 0
    private let buffer: VulkanBuffer?
    private let setSize: Int
    private var first = 0

    init() {
        (buffer, setSize, copies) = (nil, 0, 1)
    }

    /// All of it is filled with a small number, the same in fp16 and, twice as wide, in fp32.
    init(_ device: VulkanDevice, setSize: Int, copies: Int) throws {
        let buffer = try VulkanBuffer(device, size: setSize * copies, kind: .device)
        try Timeline(device).run(
            CommandBuffer(device) { recorder in
                recorder.fill(buffer, size: buffer.size / 4 * 4, word: 0x2c2c_2c2c)
                recorder.barrier()
            })
        self.buffer = buffer
        self.setSize = setSize
        self.copies = copies
    }

    /// What follows is given from that set.
    func begin(_ copy: Int) {
        first = copy * setSize
        used = 0
    }

    func operand(_ tensor: Tensor) -> Operand { take(tensor.shape.count * tensor.dtype.size) }

    func weight(_ name: String, shape: Shape, packing: Packing, dtype: DType) -> Operand {
        take(shape.count * dtype.size)
    }

    func constant(_ values: [Float]) -> Operand { take(values.count * 4) }

    func scratch(bytes: Int) -> Operand { take(bytes) }

    private func take(_ bytes: Int) -> Operand {
        defer { used += DeviceWeight.padded(bytes) }
        return Operand(address: (buffer?.address ?? 0) + UInt64(first + used), bytes: bytes)
    }
}
