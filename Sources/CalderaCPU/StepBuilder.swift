import COneDNN
import CalderaGraph

/// One entry of a stage's list: everything that it needs is resolved, so that running it checks nothing but what
/// depends on the data.
typealias Step = () throws -> Void

/// Memory that every step may use while it runs: as large as the most demanding one asked for.
final class Scratch {
    private(set) var size = 0
    private var memory: HostMemory?

    func reserve(_ bytes: Int) { size = max(size, bytes) }

    func allocate(counter: MemoryCounter) throws {
        memory = try HostMemory(size, for: "the layers' working memory", counter: counter)
    }

    /// Valid once a plan has been compiled.
    var base: UnsafeMutableRawPointer? { memory?.base }
    var bytes: UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer(start: base, count: memory?.size ?? 0)
    }
}

/// Which operands of an execution lie in the scratch memory, and from which byte on.
struct ScratchOffsets {
    var source: Int?
    var destination: Int?
}

/// Turns the nodes of a plan into steps over memory whose addresses are known.
///
/// First every step says what it needs, then `forecast` or `finish` decides which weights stay in memory; only `finish`
/// reads any.
final class StepBuilder {
    let plan: Plan
    let engine: OneDNNEngine
    let weights: WeightPacking
    let scratch = Scratch()
    private let arena: HostMemory
    private let persistent: HostMemory
    let counter: MemoryCounter
    /// Executions that wait for the addresses of their weight and of the scratch memory, which are known only when all
    /// steps have said how much they need.
    private var unbound: [(execution: Execution, offsets: ScratchOffsets)] = []

    /// With `isForecast` the memory is no more than addresses.
    init(
        _ plan: Plan, weights source: any WeightSource, engine: OneDNNEngine, counter: MemoryCounter, isForecast: Bool
    ) throws {
        self.plan = plan
        self.counter = counter
        self.engine = engine
        arena = try HostMemory(
            plan.arenaSize, for: "intermediate values", counter: counter, isForecast: isForecast)
        persistent = try HostMemory(
            plan.persistentSize, for: "inputs, states and outputs", counter: counter, isForecast: isForecast)
        weights = WeightPacking(plan, source: source, counter: counter)
    }

    typealias Forecast = (memory: MemoryForecast, residency: Residency, packers: Int)

    /// What all steps together take within `budget`, which weights stay in memory, and how many threads pack them: all,
    /// each with memory for its conversions, if no weight has to stream for it.
    func forecast(budget: Int?) -> Forecast {
        let wide = forecast(budget: budget, packers: Parallel.threads)
        return wide.residency.largestStreamed == 0 ? wide : forecast(budget: budget, packers: 1)
    }

    private func forecast(budget: Int?, packers: Int) -> Forecast {
        // The regions, vectors, row biases: whatever was allocated while the steps were made.
        let fixed = counter.now
        let most = max(weights.stagingSize.roundedUp(to: HostMemory.alignment) * packers, scratch.size)
        let residency = weights.residency(budget: budget.map { $0 - fixed - most })
        // Weights that stream pass through the scratch memory, as do those that are replaced.
        let working = residency.largestStreamed > 0 ? most : scratch.size
        let forecast = MemoryForecast(
            weights: weights.vectorSize + weights.size { residency.isResident[$0] },
            streaming: residency.largestStreamed, streamedWeights: weights.size { !residency.isResident[$0] },
            arena: arena.size, persistent: fixed - arena.size - weights.vectorSize, working: working,
            staging: most - working)
        return (forecast, residency, packers)
    }

    /// Loads the weights that stay within `budget`, allocates the scratch memory and hands the addresses to what was
    /// waiting for them.
    func finish(budget: Int?) throws {
        let (forecast, residency, packers) = forecast(budget: budget)
        try forecast.check(budget: budget, on: "the processor")
        try weights.load(residency, packers: packers)
        scratch.reserve(forecast.working)
        try scratch.allocate(counter: counter)
        try weights.stream(residency, staging: scratch)
        for (execution, offsets) in unbound {
            execution.operands.scratchpad = scratch.base
            execution.operands.weights = execution.weight?.address
            if let source = offsets.source {
                execution.operands.source = scratch.base.map { UnsafeRawPointer($0 + source) }
            }
            if let destination = offsets.destination {
                execution.operands.destination = scratch.base.map { $0 + destination }
            }
            try execution.rebind()
        }
        unbound = []
    }

    /// The address of a value that a node reads: in the plan's regions, or a weight's own.
    func address(_ tensor: Tensor, label: String) throws -> UnsafeRawPointer {
        if plan.weightName(tensor) != nil { return try weights.operand(tensor, label: label) }
        return UnsafeRawPointer(try destination(tensor, label: label))
    }

    /// The address of a value that a node writes.
    func destination(_ tensor: Tensor, label: String) throws -> UnsafeMutableRawPointer {
        guard let location = plan.location(of: tensor) else {
            throw CalderaError("\(label): a value \(tensor.shape) has no place in the plan.")
        }
        let region = location.region == .arena ? arena : persistent
        return region.base + location.offset
    }

    /// An execution that reads a packed weight, takes its scratchpad from the start of the shared scratch memory, and its
    /// source or destination from an offset in it where one is given.
    func execution(
        _ primitive: Primitive, _ operands: cdnn_operands, weight: PackedWeight,
        offsets: ScratchOffsets = ScratchOffsets(), label: String
    ) throws -> Execution {
        let execution = try Execution(primitive, operands, weight: weight, label: label)
        scratch.reserve(primitive.scratchpadSize)
        unbound.append((execution, offsets))
        return execution
    }

    /// The step of one node; nil where the output has no element.
    func step(_ node: Node) throws -> Step? {
        if node.output.shape.count == 0 { return nil }
        switch node.op {
        case .matmul(let epilogue):
            if epilogue.gated { return try gatedProduct(node, epilogue) }
            return try takesRows(node, epilogue) ? rowProduct(node, epilogue) : matmul(node, epilogue)
        case .convolution(let convolution, let epilogue): return try self.convolution(node, convolution, epilogue)
        case .groupNorm(let groups, let epsilon, let function):
            return try groupNorm(node, groups: groups, epsilon: epsilon, function)
        case .layerNorm(let epsilon): return try layerNorm(node, epsilon: epsilon)
        case .rmsNorm(let epsilon): return try rmsNorm(node, epsilon: epsilon)
        case .cachedAttention(let attention): return try cachedAttention(node, attention)
        case .writeCache: return try writeCache(node)
        case .rotary(let headSize): return try rotary(node, headSize: headSize)
        case .swiglu: return try swiglu(node)
        case .attention(let attention): return try self.attention(node, attention)
        case .embedding: return try embedding(node)
        case .sinusoid(let channels, let flip, let shift):
            return try sinusoid(node, channels: channels, flipSinToCos: flip, shift: shift)
        case .activation(let function): return try activation(node, function)
        case .scaleShift(let scale, let shift): return try scaleShift(node, scale: scale, shift: shift)
        case .add: return try add(node)
        case .outerSum: return try outerSum(node)
        case .geglu: return try geglu(node)
        case .concat(let axis): return try concat(node, axis: axis)
        case .upsampleNearest(let height, let width): return try upsample(node, height: height, width: width)
        case .select: return try select(node)
        case .gatherToken: return try gatherToken(node)
        case .weightedSum(let columns): return try weightedSum(node, columns)
        case .blend: return try blend(node)
        case .rescale(let column): return try rescale(node, column: column)
        case .cast, .assign: return try cast(node)
        case .increment: return try increment(node)
        }
    }
}
