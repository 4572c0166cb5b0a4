import CalderaGraph
import CalderaVulkan

/// A stage's commands, and what each of its kernels is for.
struct Recording {
    struct Step {
        /// The layer.
        let label: String
        let kernel: String
        let followsBarrier: Bool
    }

    /// The commands of one segment of the stage: all of it where nothing streams.
    struct Part {
        let segment: StreamSegment
        let commands: CommandBuffer
    }

    let parts: [Part]
    let steps: [Step]
}

/// Records a plan's nodes into command buffers.
final class PlanRecorder {
    private let device: VulkanDevice
    private let plan: Plan
    private let memory: ExecutableMemory
    private let states: StateSnapshot
    private let kernels: KernelLibrary
    private let lowering: Lowering

    init(
        _ device: VulkanDevice, _ plan: Plan, _ memory: ExecutableMemory, _ states: StateSnapshot,
        _ kernels: KernelLibrary, _ lowering: Lowering
    ) {
        self.device = device
        self.plan = plan
        self.memory = memory
        self.states = states
        self.kernels = kernels
        self.lowering = lowering
    }

    /// A whole stage, cut where streamed weights must arrive. The step stage saves the states before it changes them.
    func record(_ stage: Stage) throws -> Recording {
        var steps: [Recording.Step] = []
        let parts = try memory.weights.layout.segments(stage).map { segment in
            let savesStates = stage == .step && segment.nodes.lowerBound == 0
            let commands = try record(segment, nodes: segment.nodes, savesStates: savesStates, &steps)
            return Recording.Part(segment: segment, commands: commands)
        }
        return Recording(parts: parts, steps: steps)
    }

    /// The same stage with the device's clock read at the start of each segment and behind each node.
    func recordTimed(_ stage: Stage) throws -> TimedRecording {
        let segments = memory.weights.layout.segments(stage)
        let clock = NodeClock(
            timestamps: try Timestamps(device, count: plan.nodes(stage).count + segments.count), segments: segments)
        var steps: [Recording.Step] = []
        let parts = try segments.indices.map { index in
            let segment = segments[index]
            let savesStates = stage == .step && segment.nodes.lowerBound == 0
            let commands = try record(
                segment, nodes: segment.nodes, savesStates: savesStates, &steps, clock: (clock, index))
            return Recording.Part(segment: segment, commands: commands)
        }
        return TimedRecording(recording: Recording(parts: parts, steps: steps), clock: clock)
    }

    /// One node of a segment whose weights are where they belong, or arrive with its first node.
    func record(_ segment: StreamSegment, node: Int) throws -> CommandBuffer {
        var steps: [Recording.Step] = []
        return try record(segment, nodes: node..<node + 1, savesStates: false, &steps)
    }

    private func record(
        _ segment: StreamSegment, nodes: Range<Int>, savesStates: Bool, _ steps: inout [Recording.Step],
        clock: (clock: NodeClock, segment: Int)? = nil
    ) throws -> CommandBuffer {
        memory.weights.begin(segment)
        var hazards = HazardTracker()
        return try CommandBuffer(device) { recorder in
            recorder.barrier()
            if savesStates { states.recordSave(recorder) }
            if nodes.lowerBound == segment.nodes.lowerBound { memory.weights.recordCopy(segment, recorder) }
            if let clock { clock.clock.begin(clock.segment, recorder) }
            for index in nodes {
                let node = plan.nodes(segment.stage)[index]
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
                if let clock {
                    clock.clock.end(node: index, in: clock.segment, recorder)
                    hazards.reset()
                }
            }
            recorder.hostBarrier()
        }
    }

    private func pipeline(_ dispatch: Dispatch, _ node: Node) throws -> ComputePipeline {
        do {
            let words = try kernels.words(dispatch.kernel)
            return try device.pipeline(
                kernels.identity(dispatch.kernel), words: words, constants: dispatch.constants,
                subgroupSize: dispatch.subgroupSize)
        } catch let error as CalderaError {
            throw CalderaError("\(node.label): \(error.message)", kind: error.kind)
        }
    }
}
