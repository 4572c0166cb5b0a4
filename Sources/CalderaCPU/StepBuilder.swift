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
}

/// Turns the nodes of a plan into steps over memory whose addresses are known.
final class StepBuilder {
    let plan: Plan
    let engine: OneDNNEngine
    let weights: WeightPacking
    let scratch = Scratch()
    private let arena: HostMemory
    private let persistent: HostMemory
    let counter: MemoryCounter
    /// Executions that wait for the address of the scratch memory, which is known only when all steps have said how
    /// much they need; with the offset in it of a source that lies there too.
    private var unbound: [(execution: Execution, sourceOffset: Int?)] = []

    init(
        _ plan: Plan, engine: OneDNNEngine, weights: WeightPacking, arena: HostMemory, persistent: HostMemory,
        counter: MemoryCounter
    ) {
        self.plan = plan
        self.counter = counter
        self.engine = engine
        self.weights = weights
        self.arena = arena
        self.persistent = persistent
    }

    /// Allocates the scratch memory and hands it to what was waiting for it.
    func finish() throws {
        weights.finish()
        try scratch.allocate(counter: counter)
        for (execution, sourceOffset) in unbound {
            execution.operands.scratchpad = scratch.base
            if let sourceOffset { execution.operands.source = scratch.base.map { UnsafeRawPointer($0 + sourceOffset) } }
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

    /// An execution that takes its scratchpad from the start of the shared scratch memory, and its source from
    /// `sourceOffset` on where that is given.
    func execution(
        _ primitive: Primitive, _ operands: cdnn_operands, sourceOffset: Int? = nil, label: String
    ) throws -> Execution {
        let execution = try Execution(primitive, operands, label: label)
        scratch.reserve(primitive.scratchpadSize)
        unbound.append((execution, sourceOffset))
        return execution
    }

    /// The step of one node; nil where the output has no element.
    func step(_ node: Node) throws -> Step? {
        if node.output.shape.count == 0 { return nil }
        switch node.op {
        case .matmul(let epilogue): return try matmul(node, epilogue)
        case .convolution(let convolution, let epilogue): return try self.convolution(node, convolution, epilogue)
        case .groupNorm(let groups, let epsilon, let function):
            return try groupNorm(node, groups: groups, epsilon: epsilon, function)
        case .layerNorm(let epsilon): return try layerNorm(node, epsilon: epsilon)
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
