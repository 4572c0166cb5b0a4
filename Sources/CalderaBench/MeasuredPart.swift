import CalderaGPU
import CalderaGraph

/// A part of a model on a device, run a few times.
struct MeasuredPart {
    let report: ModelReport.Part
    let executable: any Executable
    let plan: Plan
    private let name: String
    private let backend: any Backend

    /// Compiles a plan, gives every input numbers, and runs each of its stages once.
    /// - Parameter inputs: values for some of the inputs and states; the others get random ones.
    init(
        _ name: String, on backend: any Backend, weights: any WeightSource, inputs: [String: HostTensor] = [:],
        plan makePlan: () throws -> Plan
    ) throws {
        let (planSeconds, plan) = try timed(makePlan)
        let pipelinesBefore = MeasuredPart.pipelineSeconds(backend)
        let (compileSeconds, executable) = try timed { try backend.compile(plan, weights: weights) }
        self.name = name
        self.plan = plan
        self.backend = backend
        self.executable = executable
        let pipelineSeconds = MeasuredPart.pipelineSeconds(backend) - pipelinesBefore
        try MeasuredPart.write(inputs, plan, to: executable)
        let first = try timed {
            try executable.run(.prompt)
            if !plan.stepNodes.isEmpty { try executable.run(.step) }
        }
        let memory = executable.memory
        report = ModelReport.Part(
            name: name, planSeconds: planSeconds, compileSeconds: compileSeconds, pipelineSeconds: pipelineSeconds,
            firstRunSeconds: first.seconds, weightBytes: memory.weights, arenaBytes: memory.arena,
            largestLiveSetBytes: plan.largestLiveSet, persistentBytes: memory.persistent,
            recordSeconds: (executable as? any HostTimes)?.recordingSeconds,
            operations: (plan.stepNodes.isEmpty ? plan.promptNodes : plan.stepNodes)
                .reduce(0) { $0 + NodeWork($1).operations })
    }

    /// Seconds of each of `count` runs of a stage.
    func seconds(_ stage: Stage, count: Int) throws -> [Double] {
        try (0..<count).map { _ in try timed { try executable.run(stage) }.seconds }
    }

    /// What the host had to do for the last run; nil on the processor.
    var hostSeconds: Double? { (executable as? any HostTimes)?.hostSeconds }

    /// When each node of a stage runs, from one further run.
    func layers(_ stage: Stage) throws -> [ModelReport.Layer] {
        let nodes = plan.nodes(stage)
        return try executable.profile(stage).map { timing in
            let node = nodes[timing.index]
            let work = NodeWork(node)
            return ModelReport.Layer(
                part: name, stage: stage == .step ? "step" : "prompt", label: node.label, operation: node.op.name,
                shape: node.output.shape.extents, kernel: backend.describe(node, in: plan), seconds: timing.seconds,
                operations: work.operations, bytes: work.bytes)
        }
    }

    /// Writes the values that are given, and random ones of variance 1 (integers: 0) everywhere else.
    static func write(_ inputs: [String: HostTensor], _ plan: Plan, to executable: any Executable) throws {
        for (index, port) in (plan.inputs + plan.states).enumerated() {
            let shape = port.tensor.shape
            let made =
                port.tensor.dtype == .int32
                ? HostTensor(shape, [Int32](repeating: 0, count: shape.count))
                : RandomNumbers.unit(shape, seed: UInt64(index) << 40)
            try executable.write(port.name, inputs[port.name] ?? made)
        }
    }

    /// Seconds in the driver's compiler so far; the processor's kernels are there already.
    private static func pipelineSeconds(_ backend: any Backend) -> Double {
        (backend as? VulkanBackend)?.pipelineSeconds ?? 0
    }
}
