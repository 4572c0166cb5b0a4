import CalderaGraph

/// The reference of every operator test: runs a plan with the plainest loops, in double precision.
///
/// Values lie in a dictionary of arrays, so that nothing of the planner's placement can go wrong here.
package final class NaiveBackend: Backend {
    package let name = "naive"
    package let limits = PlanLimits(alignment: 16)
    package let peakMemory = 0
    package let availableMemory: Int? = nil
    package var memoryLimit: Int?
    private let roundsToDType: Bool

    /// With `roundsToDType` every node's result is rounded to its element type, as a device would store it.
    package init(roundsToDType: Bool = false) { self.roundsToDType = roundsToDType }

    package func resetPeakMemory() {}

    package func forecast(_ plan: Plan, weights: any WeightSource, budget: Int?) -> MemoryForecast {
        MemoryForecast(
            weights: plan.weightSize, streaming: 0, streamedWeights: 0, arena: plan.arenaSize,
            persistent: plan.persistentSize, working: 0, staging: 0)
    }

    /// Dictionaries of arrays know no budget.
    package func compile(_ plan: Plan, weights: any WeightSource, budget: Int?) throws -> any Executable {
        try NaiveExecutable(plan, weights: weights, roundsToDType: roundsToDType)
    }

    package func describe(_ node: Node, in plan: Plan) -> String { "\(node.op.name), plain loops" }
}

/// A tensor's elements in row-major order.
struct Operand {
    let shape: Shape
    let values: [Double]
}

private final class NaiveExecutable: Executable {
    private let plan: Plan
    private let roundsToDType: Bool
    /// By the value that owns the memory: views share their owner's entry.
    private var contents: [Int: [Double]] = [:]

    init(_ plan: Plan, weights: any WeightSource, roundsToDType: Bool) throws {
        try plan.check(weights, part: "the test graph")
        self.plan = plan
        self.roundsToDType = roundsToDType
        for value in plan.values {
            if case .cache = value.origin {
                contents[value.tensor.id] = Array(repeating: 0, count: value.tensor.shape.count)
            }
        }
        try replaceWeights(Set(plan.weights.map(\.name)), from: weights)
    }

    func replaceWeights(_ names: Set<String>, from source: any WeightSource) throws {
        for port in plan.weights where names.contains(port.name) {
            let dtype = source.info(port.name)?.dtype ?? plan.dtype
            contents[port.tensor.id] = try source.withBytes(port.name) { ElementCoding.decoded($0, as: dtype) }
        }
    }

    func statesAreFinite() throws -> Bool {
        try plan.states.allSatisfy { try operand($0.tensor).values.allSatisfy(\.isFinite) }
    }

    /// Runs the stage from the present values, and keeps what it computes.
    func firstNonFinite(_ stage: Stage) throws -> NonFiniteValue? {
        for node in plan.nodes(stage) {
            let values = try NaiveOperators.evaluate(node.op, try inputs(node))
            store(values, in: node.output)
            if !values.allSatisfy(\.isFinite) { return NonFiniteValue(label: node.label, cause: .computation) }
        }
        return nil
    }

    var memory: MemoryUse {
        MemoryUse(weights: plan.weightSize, arena: plan.arenaSize, persistent: plan.persistentSize)
    }

    func write(_ name: String, _ tensor: HostTensor) throws {
        let port = try plan.port(name)
        guard port.tensor.shape == tensor.shape else {
            throw CalderaError("\(name) is \(port.tensor.shape); a tensor \(tensor.shape) cannot be written to it.")
        }
        let values =
            switch tensor.values {
            case .float(let floats): floats.map { Double($0) }
            case .int(let ints): ints.map { Double($0) }
            }
        store(values.map { ElementCoding.rounded($0, to: port.tensor.dtype) }, in: port.tensor)
    }

    func run(_ stage: Stage) throws {
        for node in plan.nodes(stage) {
            let values = try NaiveOperators.evaluate(node.op, try inputs(node))
            let isRounded = roundsToDType || node.output.dtype == .int32
            store(isRounded ? values.map { ElementCoding.rounded($0, to: node.output.dtype) } : values, in: node.output)
        }
    }

    /// The operands of a node, a joined source put together.
    private func inputs(_ node: Node) throws -> [Operand] {
        let inputs = try node.inputs.map(operand)
        guard node.joinedSource != nil, let joined = inputs.last else { return inputs }
        let axis = joined.shape.rank - 1
        let shape = Shape(joined.shape.extents.dropLast() + [node.sourceChannels])
        let whole = Operand(shape: shape, values: NaiveOperators.concat(inputs[0], joined, axis))
        return [whole] + inputs.dropFirst().dropLast()
    }

    /// Runs the stage; plain loops have no times worth telling.
    func profile(_ stage: Stage) throws -> [NodeTiming] {
        try run(stage)
        return plan.nodes(stage).indices.map { NodeTiming(index: $0, start: 0, seconds: 0) }
    }

    func read(_ name: String) throws -> HostTensor {
        let tensor = try plan.source(name).tensor
        let values = try operand(tensor).values
        if tensor.dtype == .int32 { return HostTensor(tensor.shape, values.map { Int32($0) }) }
        return HostTensor(tensor.shape, values.map { Float($0) })
    }

    private func operand(_ tensor: Tensor) throws -> Operand {
        let (owner, offset) = storage(of: tensor)
        guard let values = contents[owner] else {
            throw CalderaError(
                "Value \(owner) \(plan.values[owner].origin) is read before anything has been written to it.")
        }
        return Operand(shape: tensor.shape, values: Array(values[offset..<offset + tensor.shape.count]))
    }

    private func store(_ values: [Double], in tensor: Tensor) {
        let (owner, offset) = storage(of: tensor)
        let size = plan.values[owner].tensor.shape.count
        contents[owner, default: Array(repeating: .nan, count: size)]
            .replaceSubrange(offset..<offset + values.count, with: values)
    }

    /// The value that owns a tensor's memory, and where in it the tensor starts, in elements.
    private func storage(of tensor: Tensor) -> (owner: Int, offset: Int) {
        var owner = tensor.id
        var offset = 0
        while case .view(let base, let step) = plan.values[owner].origin {
            owner = base
            offset += step
        }
        return (owner, offset)
    }
}
