/// Rewrites the node list so that what can ride along with a matrix product, a convolution or a norm is not a pass of
/// its own: bias rows, activations and residuals become epilogues, nearest-neighbour enlargements become addressing,
/// SiLU joins its group norm, GEGLU the product that it gates, and what reads a concatenation reads its two sources. Nodes
/// that no output or state needs are dropped.
struct Fusion {
    private var nodes: [Node?]
    /// How many nodes, views and outputs read each value.
    private var uses: [Int: Int] = [:]
    private var producers: [Int: Int] = [:]
    private let graph: Graph

    static func run(_ graph: Graph) -> [Node] {
        var fusion = Fusion(graph)
        for index in fusion.nodes.indices { fusion.absorb(at: index) }
        // Last, since a joined source stands behind an epilogue's operands.
        for index in fusion.nodes.indices { fusion.join(at: index) }
        return fusion.nodes.compactMap { $0 }
    }

    private init(_ graph: Graph) {
        self.graph = graph
        let needed = Fusion.needed(graph)
        nodes = graph.nodes.enumerated().map { needed.contains($0.offset) ? $0.element : nil }
        for case (let index, let node?) in nodes.enumerated() {
            producers[node.output.id] = index
            for input in node.inputs { count(input) }
        }
        for output in graph.outputs { count(output.tensor) }
    }

    /// Counts a use of a value; a use of a view also pins the value that it looks at.
    private mutating func count(_ tensor: Tensor) {
        uses[tensor.id, default: 0] += 1
        let storage = graph.storage(of: tensor.id).id
        if storage != tensor.id { uses[storage, default: 0] += 2 }
    }

    /// The nodes from which an output or an assignment can be reached.
    private static func needed(_ graph: Graph) -> Set<Int> {
        var needed: Set<Int> = []
        var pending = graph.outputs.map { graph.storage(of: $0.tensor.id).id }
        for (index, node) in graph.nodes.enumerated() where node.target != nil {
            needed.insert(index)
            pending += node.inputs.map { graph.storage(of: $0.id).id }
        }
        while let id = pending.popLast() {
            guard case .node(let index) = graph.values[id].origin, needed.insert(index).inserted else { continue }
            pending += graph.nodes[index].inputs.map { graph.storage(of: $0.id).id }
        }
        return needed
    }

    private mutating func absorb(at index: Int) {
        guard let node = nodes[index] else { return }
        switch node.op {
        case .add: absorbSum(node, at: index)
        case .activation(let function): absorbActivation(function, node, at: index)
        case .geglu: absorbGate(node, at: index)
        case .convolution(let convolution, let epilogue): absorbEnlargement(convolution, epilogue, node, at: index)
        default: break
        }
    }

    /// The index of the node that makes `tensor`, where nothing but the node at `index` reads it and the two may become
    /// one that runs where the later stands: as often as the earlier does now, and on the same values.
    private func soleProducer(of tensor: Tensor, for index: Int) -> Int? {
        guard uses[tensor.id] == 1, let source = producers[tensor.id], let producer = nodes[source],
            producer.stage == nodes[index]?.stage, !isReassigned(producer.inputs, between: source, and: index)
        else { return nil }
        return source
    }

    /// Whether a state among `tensors` is written by a node between the two.
    private func isReassigned(_ tensors: [Tensor], between source: Int, and index: Int) -> Bool {
        let read = Set(tensors.map { graph.storage(of: $0.id).id })
        return nodes[(source + 1)..<index].contains { node in
            guard let target = node?.target else { return false }
            return read.contains(graph.storage(of: target.id).id)
        }
    }

    private mutating func absorbSum(_ node: Node, at index: Int) {
        let pair = [(node.inputs[0], node.inputs[1]), (node.inputs[1], node.inputs[0])]
        for (main, other) in pair {
            guard let source = soleProducer(of: main, for: index), let producer = nodes[source],
                var epilogue = producer.op.epilogue, !epilogue.gated
            else { continue }
            if main.shape == node.output.shape, other.shape == node.output.shape, !epilogue.residual {
                epilogue.residual = true
            } else if other.shape != node.output.shape, main.shape == node.output.shape, !epilogue.rowBias,
                epilogue.activation == nil, !epilogue.residual
            {
                epilogue.rowBias = true
            } else {
                continue
            }
            let op = producer.op.with(epilogue: epilogue)
            merge(source, into: index, op: op, inputs: producer.inputs + [other], label: producer.label)
            return
        }
    }

    private mutating func absorbActivation(_ function: Activation, _ node: Node, at index: Int) {
        guard let source = soleProducer(of: node.inputs[0], for: index), let producer = nodes[source] else { return }
        if case .groupNorm(let groups, let epsilon, nil) = producer.op, function == .silu {
            let op = Op.groupNorm(groups: groups, epsilon: epsilon, activation: function)
            merge(source, into: index, op: op, inputs: producer.inputs, label: producer.label)
        } else if var epilogue = producer.op.epilogue, epilogue.activation == nil, !epilogue.residual, !epilogue.gated {
            epilogue.activation = function
            let op = producer.op.with(epilogue: epilogue)
            merge(source, into: index, op: op, inputs: producer.inputs, label: producer.label)
        }
    }

    /// A gate behind a product of a weight, which backends pack for it, and its bias alone. Not where few rows are
    /// computed at a time, with kernels that read the weight as it lies: in language models.
    private mutating func absorbGate(_ node: Node, at index: Int) {
        guard !isIncremental, let source = soleProducer(of: node.inputs[0], for: index),
            let producer = nodes[source], case .matmul(var epilogue) = producer.op,
            epilogue == Epilogue(bias: epilogue.bias), isWeight(producer.inputs[1])
        else { return }
        epilogue.gated = true
        merge(source, into: index, op: .matmul(epilogue), inputs: producer.inputs, label: producer.label)
    }

    /// As `Plan.isIncremental`.
    private var isIncremental: Bool {
        graph.values.contains { if case .cache = $0.origin { true } else { false } }
    }

    private mutating func absorbEnlargement(
        _ convolution: Convolution, _ epilogue: Epilogue, _ node: Node, at index: Int
    ) {
        guard convolution.enlarged == nil, let source = soleProducer(of: node.inputs[0], for: index),
            let producer = nodes[source], case .upsampleNearest(let height, let width) = producer.op
        else { return }
        var enlarged = convolution
        enlarged.enlarged = Convolution.Size(height: height, width: width)
        let inputs = [producer.inputs[0]] + node.inputs.dropFirst()
        merge(source, into: index, op: .convolution(enlarged, epilogue), inputs: inputs, label: node.label)
    }

    /// The channels that kernels may read at one time: none such run holds channels of both sources.
    private static let joinedRun = 8

    /// Hands the sources of a concatenation by channels to its readers, where all of them can take two.
    private mutating func join(at index: Int) {
        guard let node = nodes[index], case .concat(let axis) = node.op, axis == node.output.shape.rank - 1,
            node.inputs.allSatisfy({ $0.shape.channels.isMultiple(of: Fusion.joinedRun) })
        else { return }
        let readers = nodes.indices.filter { nodes[$0]?.inputs.contains(node.output) ?? false }
        guard !readers.isEmpty, readers.count == uses[node.output.id],
            readers.allSatisfy({ takesTwo($0, of: node, at: index) })
        else { return }
        for reader in readers {
            nodes[reader]?.inputs[0] = node.inputs[0]
            nodes[reader]?.inputs.append(node.inputs[1])
        }
        nodes[index] = nil
    }

    /// Whether the node at `reader` can have the two sources of the concatenation at `index` in place of its own.
    private func takesTwo(_ reader: Int, of concatenation: Node, at index: Int) -> Bool {
        guard let node = nodes[reader], node.inputs[0] == concatenation.output, node.stage == concatenation.stage,
            concatenation.inputs.allSatisfy({ $0.dtype == node.output.dtype && !isWeight($0) }),
            !isReassigned(concatenation.inputs, between: index, and: reader)
        else { return false }
        switch node.op {
        case .groupNorm: return true
        // A backend may make the product in two, of which the second adds to the first before anything else.
        case .matmul(let epilogue): return epilogue == Epilogue(bias: epilogue.bias) && isWeight(node.inputs[1])
        default: return false
        }
    }

    private func isWeight(_ tensor: Tensor) -> Bool {
        if case .weight = graph.value(tensor).origin { return true }
        return false
    }

    /// Puts one node in the place of the later of two; the earlier goes.
    private mutating func merge(_ source: Int, into index: Int, op: Op, inputs: [Tensor], label: String) {
        guard let node = nodes[index] else { return }
        let stage = node.stage
        nodes[source] = nil
        nodes[index] = Node(op: op, inputs: inputs, output: node.output, label: label, stage: stage)
    }
}

extension Op {
    /// The epilogue of a matrix product or a convolution; nil for other operations.
    public var epilogue: Epilogue? {
        switch self {
        case .matmul(let epilogue), .convolution(_, let epilogue): epilogue
        default: nil
        }
    }

    func with(epilogue: Epilogue) -> Op {
        switch self {
        case .matmul: .matmul(epilogue)
        case .convolution(let convolution, _): .convolution(convolution, epilogue)
        default: self
        }
    }
}
