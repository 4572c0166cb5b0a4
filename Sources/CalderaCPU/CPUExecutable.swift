import COneDNN
import CalderaGraph

/// A plan on the processor: two lists of steps over memory that was allocated once.
final class CPUExecutable: Executable {
    let memory: MemoryUse
    private let plan: Plan
    private let builder: StepBuilder
    /// One for each node; nil where the output has no element.
    private let promptSteps: [Step?]
    private let stepSteps: [Step?]
    private let states: StateSnapshot
    /// Behind the members that own memory in the order of their ends: the free pages go last.
    private let pages = FreePages()

    init(
        _ plan: Plan, weights source: any WeightSource, engine: OneDNNEngine, counter: MemoryCounter, budget: Int?
    ) throws {
        try plan.check(source, part: "the model")
        let own = MemoryCounter(partOf: counter)
        let builder = try StepBuilder(plan, weights: source, engine: engine, counter: own, isForecast: false)
        states = try StateSnapshot(plan, builder)
        promptSteps = try plan.promptNodes.map { try builder.step($0) }
        stepSteps = try plan.stepNodes.map { try builder.step($0) }
        try builder.finish(budget: budget)
        self.plan = plan
        self.builder = builder
        let weights = builder.weights.residentSize
        memory = MemoryUse(
            weights: weights, arena: plan.arenaSize + builder.scratch.size,
            persistent: own.now - weights - plan.arenaSize - builder.scratch.size)
    }

    /// What an executable would allocate; no weight is read.
    static func forecast(
        _ plan: Plan, weights source: any WeightSource, engine: OneDNNEngine, budget: Int?
    ) throws -> MemoryForecast {
        try plan.check(source, part: "the model")
        let builder = try StepBuilder(
            plan, weights: source, engine: engine, counter: MemoryCounter(), isForecast: true)
        let states = try StateSnapshot(plan, builder)
        let steps = try (plan.promptNodes + plan.stepNodes).map { try builder.step($0) }
        // What they have allocated counts.
        return withExtendedLifetime((states, steps)) { builder.forecast(budget: budget).memory }
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
        if stage == .step { states.save() }
        for step in stage == .step ? stepSteps : promptSteps { try step?() }
    }

    func profile(_ stage: Stage) throws -> [NodeTiming] {
        if stage == .step { states.save() }
        let origin = ContinuousClock.now
        return try (stage == .step ? stepSteps : promptSteps).enumerated().map { index, step in
            let start = ContinuousClock.now
            try step?()
            return NodeTiming(
                index: index, start: (start - origin) / .seconds(1),
                seconds: (ContinuousClock.now - start) / .seconds(1))
        }
    }

    func replaceWeights(_ names: Set<String>, from source: any WeightSource) throws {
        try builder.weights.replace(names, from: source)
    }

    func statesAreFinite() throws -> Bool {
        try plan.states.allSatisfy { try isFinite($0.tensor) }
    }

    func firstNonFinite(_ stage: Stage) throws -> NonFiniteValue? {
        if stage == .step { states.restore() }
        defer { if stage == .step { states.restore() } }
        return try NonFiniteSearch(plan, self).first(stage)
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

extension CPUExecutable: NodeReplay {
    func run(_ index: Int, of stage: Stage) throws { try (stage == .step ? stepSteps : promptSteps)[index]?() }

    func isFinite(_ tensor: Tensor) throws -> Bool {
        FiniteCheck.holds(try builder.address(tensor, label: "a value"), tensor.dtype, count: tensor.shape.count)
    }

    func source(ofWeight name: String) -> any WeightSource { builder.weights.source(of: name) }
}

/// The states as they were before the last step: from there the step can be run again.
private final class StateSnapshot {
    private struct Entry {
        let state: UnsafeMutableRawPointer
        let saved: UnsafeMutableRawPointer
        let size: Int
    }

    private var entries: [Entry] = []
    private var isTaken = false
    private let memory: HostMemory

    init(_ plan: Plan, _ builder: StepBuilder) throws {
        let sizes = plan.states.map { $0.tensor.shape.count * $0.tensor.dtype.size }
        memory = try HostMemory(sizes.reduce(0, +), for: "the states before a step", counter: builder.counter)
        var offset = 0
        for (port, size) in zip(plan.states, sizes) {
            let state = try builder.destination(port.tensor, label: port.name)
            entries.append(Entry(state: state, saved: memory.base + offset, size: size))
            offset += size
        }
    }

    func save() {
        for entry in entries { entry.saved.copyMemory(from: entry.state, byteCount: entry.size) }
        isTaken = true
    }

    /// Before the first step the states are what they are.
    func restore() {
        if !isTaken { return save() }
        for entry in entries { entry.state.copyMemory(from: entry.saved, byteCount: entry.size) }
    }
}

/// Gives freed pages back to the system when it goes itself.
private final class FreePages {
    deinit { cdnn_return_freed_memory() }
}
