import CalderaGraph

/// A plan on the processor: two lists of steps over memory that was allocated once.
final class CPUExecutable: Executable {
    let memory: MemoryUse
    private let plan: Plan
    private let builder: StepBuilder
    private let promptSteps: [Step]
    private let stepSteps: [Step]

    init(_ plan: Plan, weights source: any WeightSource, engine: OneDNNEngine, counter: MemoryCounter) throws {
        try plan.check(source, part: "the model")
        let weights = WeightPacking(plan, source: source, counter: counter)
        let arena = try HostMemory(plan.arenaSize, for: "intermediate values", counter: counter)
        let persistent = try HostMemory(plan.persistentSize, for: "inputs, states and outputs", counter: counter)
        let builder = StepBuilder(
            plan, engine: engine, weights: weights, arena: arena, persistent: persistent, counter: counter)
        promptSteps = try plan.promptNodes.compactMap { try builder.step($0) }
        stepSteps = try plan.stepNodes.compactMap { try builder.step($0) }
        try builder.finish()
        self.plan = plan
        self.builder = builder
        memory = MemoryUse(
            weights: weights.size, arena: arena.size + builder.scratch.size, persistent: persistent.size)
    }

    func write(_ name: String, _ tensor: HostTensor) throws {
        let target = try plan.port(name).tensor
        guard target.shape == tensor.shape else {
            throw CalderaError("\(name) is \(target.shape); a tensor \(tensor.shape) cannot be written to it.")
        }
        let place = try builder.destination(target, label: name)
        switch tensor.values {
        case .float(let values): store(values, .float32, in: place, target.dtype)
        case .int(let values): store(values, .int32, in: place, target.dtype)
        }
    }

    private func store<Value>(
        _ values: [Value], _ stored: DType, in place: UnsafeMutableRawPointer, _ dtype: DType
    ) {
        values.withUnsafeBytes { bytes in
            guard let base = bytes.baseAddress else { return }
            convert(base, stored, to: place, dtype, count: values.count)
        }
    }

    func run(_ stage: Stage) throws {
        for step in stage == .step ? stepSteps : promptSteps { try step() }
    }

    func read(_ name: String) throws -> HostTensor {
        let source = try plan.source(name).tensor
        let place = try builder.address(source, label: name)
        let count = source.shape.count
        if source.dtype == .int32 {
            return HostTensor(
                source.shape,
                Array(unsafeUninitializedCapacity: count) { buffer, initialised in
                    fill(buffer, .int32, place, source.dtype)
                    initialised = count
                } as [Int32])
        }
        return HostTensor(
            source.shape,
            Array(unsafeUninitializedCapacity: count) { buffer, initialised in
                fill(buffer, .float32, place, source.dtype)
                initialised = count
            } as [Float])
    }

    private func fill<Value>(
        _ buffer: UnsafeMutableBufferPointer<Value>, _ wanted: DType, _ place: UnsafeRawPointer, _ dtype: DType
    ) {
        guard let base = buffer.baseAddress else { return }
        convert(place, dtype, to: UnsafeMutableRawPointer(base), wanted, count: buffer.count)
    }
}
