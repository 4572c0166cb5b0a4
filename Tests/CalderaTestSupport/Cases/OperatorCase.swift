import CalderaGraph

/// One row of the table that every backend is tested by and benchmarks share: a small graph with its contents.
package struct OperatorCase: Sendable, CustomStringConvertible {
    /// How exact the result must be.
    package enum Exactness: Sendable {
        case plain
        /// Long sums, exponentials, or angles of many turns: twice the plain bound in fp32.
        case long
    }

    /// Unique in the table: the operator, then what is particular.
    package let name: String
    package let exactness: Exactness
    /// How many times the step stage is replayed.
    package let replays: Int
    /// Element types that the case names itself, beyond the plan's, fp32 and int32: a backend needs to know them.
    package let explicitTypes: Set<DType>
    private let build: @Sendable (CaseBuilder) throws -> Void

    package init(
        _ name: String, _ exactness: Exactness = .plain, replays: Int = 1, explicitTypes: Set<DType> = [],
        _ build: @escaping @Sendable (CaseBuilder) throws -> Void
    ) {
        self.name = name
        self.exactness = exactness
        self.replays = replays
        self.explicitTypes = explicitTypes
        self.build = build
    }

    package var description: String { name }

    /// The case's graph and contents with activations and weights of `dtype`.
    package func built(dtype: DType) throws -> CaseBuilder {
        let builder = CaseBuilder(name: name, dtype: dtype)
        try build(builder)
        return builder
    }
}

/// Collects a case's graph together with the contents of its inputs, states and weights.
package final class CaseBuilder {
    package let graph: Graph
    /// What the host writes to each input, state and guard.
    package private(set) var contents: [String: HostTensor] = [:]
    /// Under PyTorch's shapes.
    package private(set) var weights: [String: HostTensor] = [:]
    /// What a caller compares: outputs and states, by name.
    package private(set) var results: [String] = []
    /// The states round each output, which no kernel may touch.
    package private(set) var guards: [String] = []
    private let name: String

    init(name: String, dtype: DType) {
        self.name = name
        graph = Graph(dtype: dtype)
    }

    package var dtype: DType { graph.dtype }

    // MARK: Leaves

    /// An input of normal deviates, or of `values`, in the graph's element type or `dtype`.
    package func input(
        _ name: String, _ shape: Shape, _ dtype: DType? = nil, mean: Double = 0, scale: Double = 1,
        values: [Float]? = nil, stage: Stage = .prompt
    ) -> Tensor {
        let type = dtype ?? graph.dtype
        contents[name] = ElementCoding.rounded(
            values.map { HostTensor(shape, $0) } ?? random(name, shape, mean, scale), to: type)
        return graph.input(name, shape, type, stage: stage)
    }

    /// An int32 input.
    package func integers(_ name: String, _ shape: Shape, _ values: [Int32], stage: Stage = .prompt) -> Tensor {
        contents[name] = HostTensor(shape, values)
        return graph.input(name, shape, .int32, stage: stage)
    }

    /// A state of normal deviates; it is compared after every replay.
    package func state(_ name: String, _ shape: Shape, _ dtype: DType? = nil) -> Tensor {
        let type = dtype ?? graph.dtype
        contents[name] = ElementCoding.rounded(random(name, shape, 0, 1), to: type)
        results.append(name)
        return graph.state(name, shape, type)
    }

    /// An int32 state [1] that starts at `value`.
    package func counter(_ name: String, startingAt value: Int32 = 0) -> Tensor {
        contents[name] = HostTensor([1], [value])
        results.append(name)
        return graph.state(name, [1], .int32)
    }

    /// A weight [N, ...] of deviates that keep a product's magnitude; a vector [N] of deviates round `mean`.
    package func weight(_ name: String, _ shape: Shape, mean: Double = 0) throws -> Tensor {
        let fanIn = shape.rank > 1 ? shape.count / max(shape[0], 1) : 1
        let scale = shape.rank > 1 ? 1 / Double(max(fanIn, 1)).squareRoot() : 0.5
        weights[name] = ElementCoding.rounded(random(name, shape, mean, scale), to: dtype)
        return try graph.weight(name, shape)
    }

    // MARK: Results

    /// Marks what `make` returns as an output, between two guards.
    ///
    /// The planner places lasting values in the order of their making, so that the guards lie right before and behind
    /// the output where `make` declares no input of its own.
    package func output(_ name: String = "result", _ make: () throws -> Tensor) rethrows {
        addGuard("\(name).before")
        let tensor = try make()
        addGuard("\(name).behind")
        graph.output(name, tensor)
        results.append(name)
    }

    private func addGuard(_ name: String) {
        let shape: Shape = [64]
        guards.append(name)
        contents[name] = HostTensor(shape, (0..<64).map { Int32(0x5ca1_ab1e) ^ $0 })
        _ = graph.state(name, shape, .int32)
    }

    private func random(_ tensor: String, _ shape: Shape, _ mean: Double, _ scale: Double) -> HostTensor {
        var stream = SeededRandom(named: "\(name)/\(tensor)")
        return HostTensor(shape, (0..<shape.count).map { _ in Float(mean + scale * stream.normal()) })
    }
}
