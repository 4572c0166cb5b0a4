import CalderaGraph

/// Runs a network on all tiles of a picture in step: each stretch between two group norms runs on every tile before the
/// next one begins, and the norms take their statistics from all tiles, as they would from the whole picture. Stretches at
/// the latents' own size, which take little memory and may hold attention over the whole picture, run on all of it.
///
/// Between the stretches values wait in host memory, or in files where that is bounded and full; on the device there is
/// one tile and the weights of one stretch at a time.
struct SteppedTiles {
    let grid: TileGrid
    let stretches: [Stretch]
    /// What the network takes, of the whole plane.
    let input: Tensor
    /// The value that it gives, by id.
    let result: Int
    /// Group norms that stand between stretches, by the id of what they give.
    private let norms: [Int: Norm]

    /// Nodes that run on their own, and the norm behind them.
    struct Stretch {
        let segment: GraphSegment
        /// Whether it runs on the whole plane rather than on each tile.
        let isWhole: Bool
        /// Nil where there is no node.
        let plan: Plan?
        let norm: Norm?
        /// The values in memory that its nodes take, by id; a norm's result counts as what the norm takes.
        let sources: Set<Int>
        /// Those of them that are in the other form until then: a plane for tiles, or tiles for the whole.
        let rearranged: [Tensor]
        /// The values in memory that nothing takes behind it.
        let finished: Set<Int>
    }

    /// A group norm: never computed for itself, but whenever a stretch takes its result.
    struct Norm {
        /// The ids of what it gives and of what it takes.
        let id: Int
        let source: Int
        let shape: Shape
        let groups: Int
        let epsilon: Float
        /// The names of its weights.
        let scale: String
        let shift: String
    }

    /// - Parameters:
    ///   - whole: the network for the whole plane, with one input and one output; never run beyond the latents' size.
    ///   - tile: the same nodes and values for one tile of `grid`.
    /// Throws `CalderaError` when the network cannot be cut, or has a value that no device holds.
    init(whole: Graph, tile: Graph, grid: TileGrid, part: String, limits: PlanLimits) throws {
        let inputs = whole.values.filter { value in
            if case .input = value.origin { true } else { false }
        }
        guard let input = inputs.first, let output = tile.outputs.first else {
            throw CalderaError("A network without input or output cannot run on tiles.")
        }
        self.grid = grid
        self.input = input.tensor
        let result = tile.storage(of: output.tensor.id).id
        self.result = result
        let segments = zip(try Self.segments(whole), try Self.segments(tile)).map { whole, tile in
            let isWhole = whole.graph.nodes.allSatisfy {
                $0.output.shape[1] <= grid.rows.extent || $0.output.shape.rank < 4
            }
            return (segment: isWhole ? whole : tile, isWhole: isWhole)
        }
        let cuts = try segments.map { try $0.segment.cut.map { try Norm($0, in: tile) } }
        let norms = Dictionary(uniqueKeysWithValues: cuts.compactMap { $0 }.map { ($0.id, $0) })
        self.norms = norms
        let sources = segments.map { Set($0.segment.inputs.map { Self.stored($0.id, norms) }) }
        let taken = zip(sources, cuts).map { $0.union($1.map { [Self.stored($0.source, norms)] } ?? []) }
        var inForm: [Int: (isWhole: Bool, tensor: Tensor)] = [input.tensor.id: (true, input.tensor)]
        stretches = try segments.enumerated().map { index, entry in
            let rearranged = sources[index].sorted().compactMap { inForm[$0] }.filter { $0.isWhole != entry.isWhole }
            for id in sources[index] { inForm[id]?.isWhole = entry.isWhole }
            for output in entry.segment.outputs { inForm[output.id] = (entry.isWhole, output) }
            let later = taken[(index + 1)...].reduce(into: Set([Self.stored(result, norms)])) { $0.formUnion($1) }
            return Stretch(
                segment: entry.segment, isWhole: entry.isWhole,
                plan: try Self.plan(entry.segment.graph, part, limits), norm: cuts[index], sources: sources[index],
                rearranged: rearranged.map(\.tensor), finished: taken[index].subtracting(later))
        }
    }

    private static func segments(_ graph: Graph) throws -> [GraphSegment] {
        try graph.segments { node in
            if case .groupNorm = node.op { true } else { false }
        }
    }

    private static func plan(_ graph: Graph, _ part: String, _ limits: PlanLimits) throws -> Plan? {
        if graph.nodes.isEmpty { return nil }
        var plan = try Planner.plan(graph, limits: limits)
        plan.part = part
        return plan
    }

    private static func stored(_ id: Int, _ norms: [Int: Norm]) -> Int {
        norms[id].map { stored($0.source, norms) } ?? id
    }

    /// The norm that gives a value, where it is one's.
    func norm(giving id: Int) -> Norm? { norms[id] }

    /// The value in memory from which another is made by norms alone.
    func stored(_ id: Int) -> Int { Self.stored(id, norms) }

    /// Whether a stretch gives the network's result tile by tile, so that nothing of it need wait.
    func finishes(_ stretch: Stretch) -> Bool {
        stretch.segment.cut == nil && !stretch.isWhole && stretch.segment.outputs.contains { $0.id == result }
    }

    /// Bytes of the result, fp32, while a stretch gives it tile by tile; 0 for any other stretch.
    func resultSize(_ stretch: Stretch) throws -> Int {
        guard finishes(stretch), let output = stretch.segment.outputs.first(where: { $0.id == result }) else {
            return 0
        }
        return 4 * (try planeShape(output.shape).count)
    }

    /// The shape of a value of all tiles together, from that of one entry of it. Throws where it is no plane.
    func planeShape(_ tile: Shape) throws -> Shape {
        try check(tile)
        let scale = tile[1] / grid.rows.tile
        return [1, grid.rows.extent * scale, grid.columns.extent * scale, tile[3]]
    }

    /// The shape of one tile of a plane. Throws where it is none.
    func tileShape(_ plane: Shape) throws -> Shape {
        try check(plane)
        let scale = plane[1] / grid.rows.extent
        return [1, grid.rows.tile * scale, grid.columns.tile * scale, plane[3]]
    }

    private func check(_ shape: Shape) throws {
        guard shape.rank == 4 else {
            throw CalderaError("A value of the shape \(shape) cannot be cut into tiles: choose --vae-tiling off.")
        }
    }
}

extension SteppedTiles.Norm {
    fileprivate init(_ node: Node, in graph: Graph) throws {
        func weight(_ tensor: Tensor) throws -> String {
            guard case .weight(let name) = graph.value(tensor).origin else {
                throw CalderaError("\(node.label): a group norm without weights of its own cannot run on tiles.")
            }
            return name
        }
        guard case .groupNorm(let groups, let epsilon, _) = node.op else {
            throw CalderaError("\(node.label): a network is cut into stretches at group norms alone.")
        }
        self.init(
            id: node.output.id, source: graph.storage(of: node.inputs[0].id).id, shape: node.output.shape,
            groups: groups, epsilon: epsilon, scale: try weight(node.inputs[1]), shift: try weight(node.inputs[2]))
    }
}
