/// Turns a graph into a plan: fuses, sorts the nodes by how often they must run, and places every value.
public enum Planner {
    /// Throws `CalderaError` when a value is larger than one allocation may be. Without `fusing` every node of the
    /// graph is kept as it is: what a fused plan is tested against.
    public static func plan(
        _ graph: Graph, limits: PlanLimits = PlanLimits(), fusing: Bool = true
    ) throws -> Plan {
        let nodes = fusing ? Fusion.run(graph) : graph.nodes
        let prompt = nodes.filter { $0.stage < .step }
        let step = nodes.filter { $0.stage == .step }
        let storages = graph.values.indices.map { graph.storage(of: $0) }
        let layout = try Layout(graph, prompt: prompt, step: step, storages: storages, limits: limits)
        let used = Set((prompt + step).flatMap(\.inputs).map { storages[$0.id].id })
        func ports(_ name: (Origin) -> String?) -> [Plan.Port] {
            graph.values.compactMap { value in
                name(value.origin).map { Plan.Port(name: $0, tensor: value.tensor) }
            }
        }
        return Plan(
            dtype: graph.dtype, values: graph.values, promptNodes: prompt, stepNodes: step,
            inputs: ports { if case .input(let name) = $0 { name } else { nil } },
            states: ports { if case .state(let name) = $0 { name } else { nil } },
            outputs: graph.outputs.map { Plan.Port(name: $0.name, tensor: $0.tensor) },
            weights: ports { if case .weight(let name) = $0 { name } else { nil } }
                .filter { used.contains($0.tensor.id) },
            arenaSize: layout.arenaSize, largestLiveSet: layout.largestLiveSet, persistentSize: layout.persistentSize,
            limits: limits, isIncremental: !ports { if case .cache(let name) = $0 { name } else { nil } }.isEmpty,
            locations: layout.locations, storages: storages)
    }
}

/// The places of a plan's values.
private struct Layout {
    var locations: [Int: Location] = [:]
    var arenaSize = 0
    var largestLiveSet = 0
    var persistentSize = 0

    init(
        _ graph: Graph, prompt: [Node], step: [Node], storages: [(id: Int, offset: Int)], limits: PlanLimits
    ) throws {
        let lifetimes = Layout.lifetimes(prompt + step, storages)
        let boundary = prompt.count
        var lasting: [Int] = graph.outputs.map { storages[$0.tensor.id].id }
        for value in graph.values {
            switch value.origin {
            case .input, .state, .cache: lasting.append(value.tensor.id)
            case .node:
                if let life = lifetimes[value.tensor.id], life.first < boundary, life.last >= boundary {
                    lasting.append(value.tensor.id)
                }
            case .weight, .view: break
            }
        }
        // In the order of creation, so that a test can put guards on both sides of an output.
        for id in Set(lasting).sorted() { try placeForGood(graph.values[id].tensor, limits) }
        let passing = try lifetimes.filter { locations[$0.key] == nil && Layout.isNode(graph.values[$0.key]) }
            .map { id, life in
                let tensor = graph.values[id].tensor
                return Interval(
                    value: id, size: limits.roundedUp(try Layout.bytes(tensor, limits)), first: life.first,
                    last: life.last)
            }
            .sorted { $0.value < $1.value }
        let arena = Arena(passing, limits: limits)
        for (id, offset) in arena.offsets { locations[id] = Location(region: .arena, offset: offset) }
        arenaSize = arena.size
        largestLiveSet = Arena.largestLiveSet(passing)
    }

    private mutating func placeForGood(_ tensor: Tensor, _ limits: PlanLimits) throws {
        let size = try Layout.bytes(tensor, limits)
        let offset = limits.fitted(persistentSize, size: size)
        locations[tensor.id] = Location(region: .persistent, offset: offset)
        persistentSize = offset + limits.roundedUp(size)
    }

    private static func isNode(_ value: Value) -> Bool {
        if case .node = value.origin { return true }
        return false
    }

    /// No address space holds more bytes, and sums of sizes below it do not overflow.
    private static let largestTensor = 1 << 46

    /// A tensor's bytes; an error when they overflow or could never lie in one allocation of the device.
    private static func bytes(_ tensor: Tensor, _ limits: PlanLimits) throws -> Int {
        guard let size = Shape.checkedCount(tensor.shape.extents + [tensor.dtype.size]),
            size <= min(limits.blockSize, largestTensor)
        else {
            throw CalderaError(
                "A tensor of shape \(tensor.shape) is larger than one allocation of the device: choose a smaller picture."
            )
        }
        return size
    }

    /// First and last node, by position in the order of execution, at which each value's memory is needed.
    private static func lifetimes(
        _ nodes: [Node], _ storages: [(id: Int, offset: Int)]
    ) -> [Int: (first: Int, last: Int)] {
        var lifetimes: [Int: (first: Int, last: Int)] = [:]
        for (position, node) in nodes.enumerated() {
            for tensor in node.inputs + [node.output] {
                let id = storages[tensor.id].id
                lifetimes[id] = (lifetimes[id]?.first ?? position, position)
            }
        }
        return lifetimes
    }
}
