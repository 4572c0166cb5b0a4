/// A stretch of a graph's nodes that runs on its own, between nodes that are computed elsewhere.
package struct GraphSegment {
    /// Takes `inputs` and gives `outputs`, each under the name that `name(of:)` says.
    package let graph: Graph
    /// Values of the whole graph that must be there before the segment runs.
    package let inputs: [Tensor]
    /// Values of the whole graph that what comes after needs.
    package let outputs: [Tensor]
    /// The node behind the segment, which is in none; nil behind the last.
    package let cut: Node?

    package static func name(of tensor: Tensor) -> String { "value\(tensor.id)" }
}

extension Graph {
    /// The graph in stretches between the nodes that `isCut` picks.
    ///
    /// Values go by the tensor that owns their memory (`storage(of:)`). Throws what building a graph throws.
    package func segments(cutAt isCut: (Node) -> Bool) throws -> [GraphSegment] {
        var stretches: [(nodes: [Node], cut: Node?)] = []
        var open: [Node] = []
        for node in nodes {
            if isCut(node) {
                stretches.append((open, node))
                open = []
            } else {
                open.append(node)
            }
        }
        stretches.append((open, nil))
        return try stretches.indices.map { index in
            let (nodes, cut) = stretches[index]
            let later = stretches[(index + 1)...].flatMap { $0.nodes + ($0.cut.map { [$0] } ?? []) }
            let users = (cut.map { [$0] } ?? []) + later
            let needed = Set((users.flatMap(\.inputs) + outputs.map(\.tensor)).map { storage(of: $0.id).id })
            return try SegmentBuilder(of: self).segment(nodes, cut: cut, needed: needed)
        }
    }
}

/// Copies nodes of one graph into another.
private struct SegmentBuilder {
    private let whole: Graph
    private let graph: Graph
    private var copies: [Int: Tensor] = [:]
    private var inputs: [Tensor] = []

    init(of whole: Graph) {
        self.whole = whole
        graph = Graph(dtype: whole.dtype)
    }

    func segment(_ nodes: [Node], cut: Node?, needed: Set<Int>) throws -> GraphSegment {
        var builder = self
        for node in nodes {
            let operands = try node.inputs.map { try builder.copy($0) }
            builder.copies[node.output.id] = graph.addNode(
                node.op, operands, node.output.shape, node.output.dtype, label: node.label)
        }
        let outputs = nodes.map(\.output).filter { needed.contains($0.id) }
        for output in outputs {
            if let copy = builder.copies[output.id] { graph.output(GraphSegment.name(of: output), copy) }
        }
        return GraphSegment(graph: graph, inputs: builder.inputs, outputs: outputs, cut: cut)
    }

    /// The value in the new graph: a weight, another shape of a copied value, or an input where it was made elsewhere.
    private mutating func copy(_ tensor: Tensor) throws -> Tensor {
        if let known = copies[tensor.id] { return known }
        let made: Tensor
        switch whole.value(tensor).origin {
        case .weight(let name): made = try graph.weight(name, tensor.shape)
        case .view(let base, _) where whole.values[base].tensor.shape.count == tensor.shape.count:
            made = try graph.reshape(copy(whole.values[base].tensor), tensor.shape)
        case .view:
            throw CalderaError("A graph with a slice of \(tensor.shape) cannot be cut into segments.")
        case .input, .state, .cache, .node:
            made = graph.input(GraphSegment.name(of: tensor), tensor.shape, tensor.dtype)
            inputs.append(tensor)
        }
        copies[tensor.id] = made
        return made
    }
}
