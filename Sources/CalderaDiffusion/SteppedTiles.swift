import CalderaGraph

/// Runs a network on all tiles of a picture in step: each stretch between two group norms runs on every tile before the
/// next one begins, and the norms take their statistics from all tiles, as they would from the whole picture. Stretches at
/// the latents' own size, which take little memory and may hold attention over the whole picture, run on all of it.
///
/// Values wait in host memory between the stretches; on the device there is one tile and the weights of one stretch at a
/// time.
struct SteppedTiles {
    private let grid: TileGrid
    private let origins: [(row: Int, column: Int)]
    /// The network for the whole plane, never run beyond the latents' size, and for one tile: the same nodes and values.
    private let whole: [GraphSegment]
    private let tile: [GraphSegment]
    private let graph: Graph

    /// - Parameters:
    ///   - whole: the network for the whole plane, with one input and one output.
    ///   - tile: the same for one tile of `grid`.
    init(whole: Graph, tile: Graph, grid: TileGrid) throws {
        func isNorm(_ node: Node) -> Bool {
            if case .groupNorm = node.op { true } else { false }
        }
        self.grid = grid
        origins = grid.origins
        graph = tile
        self.whole = try whole.segments(cutAt: isNorm)
        self.tile = try tile.segments(cutAt: isNorm)
    }

    /// What went wrong in a stretch.
    struct NotFinite: Error {
        let error: CalderaError
    }

    /// Values of the network by id: of the whole plane, or of each tile.
    private enum States {
        case whole([Int: HostTensor])
        case tiles([[Int: HostTensor]])
    }

    /// The network's input for the whole plane -> its output.
    /// Throws `NotFinite` where values are not finite numbers, `CalderaError` for all else.
    func run(
        _ source: HostTensor, weights: any WeightSource, backend: any Backend, part: String
    ) throws -> HostTensor {
        let inputs = graph.values.filter { value in
            if case .input = value.origin { true } else { false }
        }
        guard let input = inputs.first, let output = graph.outputs.first else { return source }
        let result = graph.storage(of: output.tensor.id).id
        var states = States.whole([input.tensor.id: source])
        for index in tile.indices {
            let isSmall = whole[index].graph.nodes.allSatisfy {
                $0.output.shape[1] <= grid.rows.extent || $0.output.shape.rank < 4
            }
            states = isSmall ? try joined(states) : try cut(states)
            var entries = entries(states)
            let segment = isSmall ? whole[index] : tile[index]
            try run(segment, &entries, weights: weights, backend: backend, part: part)
            if let norm = segment.cut { try normalize(norm, &entries, weights, isWhole: isSmall) }
            let needed = needed(behind: index).union([result])
            entries = entries.map { $0.filter { needed.contains($0.key) } }
            states = isSmall ? .whole(entries[0]) : .tiles(entries)
        }
        guard case .whole(let values) = try joined(states), let value = values[result] else { return source }
        return value
    }

    private func entries(_ states: States) -> [[Int: HostTensor]] {
        switch states {
        case .whole(let values): [values]
        case .tiles(let tiles): tiles
        }
    }

    /// The values that later stretches take.
    private func needed(behind index: Int) -> Set<Int> {
        Set(
            tile[(index + 1)...].flatMap { segment in
                (segment.inputs + (segment.cut?.inputs ?? [])).map { graph.storage(of: $0.id).id }
            })
    }

    private func cut(_ states: States) throws -> States {
        guard case .whole(let values) = states else { return states }
        try check(values)
        return .tiles(
            origins.map { origin in
                values.mapValues { grid.cut($0, at: origin, scale: $0.shape[1] / grid.rows.extent) }
            })
    }

    private func joined(_ states: States) throws -> States {
        guard case .tiles(let tiles) = states, let first = tiles.first else { return states }
        try check(first)
        return .whole(
            first.reduce(into: [:]) { joined, entry in
                var mosaic = TileMosaic(
                    grid, channels: entry.value.shape[3], scale: entry.value.shape[1] / grid.rows.tile)
                for (values, origin) in zip(tiles, origins) {
                    if let value = values[entry.key] { mosaic.add(value, at: origin) }
                }
                joined[entry.key] = mosaic.result()
            })
    }

    private func check(_ values: [Int: HostTensor]) throws {
        for value in values.values where value.shape.rank != 4 {
            throw CalderaError("A value of the shape \(value.shape) cannot be cut into tiles: choose --vae-tiling off.")
        }
    }

    private func run(
        _ segment: GraphSegment, _ states: inout [[Int: HostTensor]], weights: any WeightSource,
        backend: any Backend, part: String
    ) throws {
        guard !segment.graph.nodes.isEmpty else { return }
        let plan = try Planner.plan(segment.graph, limits: backend.limits)
        let executable = try backend.load(plan, weights: weights, part: part)
        for tile in states.indices {
            for input in segment.inputs {
                guard let value = states[tile][input.id] else { continue }
                try executable.write(GraphSegment.name(of: input), value)
            }
            try executable.run(.prompt)
            for output in segment.outputs {
                let value = try executable.read(GraphSegment.name(of: output))
                guard value.isFinite else {
                    throw NotFinite(
                        error: CalderaError.notFinite(
                            try executable.firstNonFinite(.prompt), part: part, dtype: plan.dtype))
                }
                states[tile][output.id] = value
            }
        }
    }

    // MARK: Group norms

    private func normalize(
        _ node: Node, _ states: inout [[Int: HostTensor]], _ weights: any WeightSource, isWhole: Bool
    ) throws {
        guard case .groupNorm(let groups, let epsilon, _) = node.op else { return }
        let source = graph.storage(of: node.inputs[0].id).id
        // What is stored may be the same elements under another shape.
        let values = states.map { $0[source].map { HostTensor(node.output.shape, $0.floats) } }
        var parts: [Moments.Part] = []
        for (index, value) in values.enumerated() {
            guard let value else { continue }
            let all = (rows: 0..<value.shape[1], columns: 0..<value.shape[2])
            parts.append(Moments.Part(value: value, owned: isWhole ? all : owned(origins[index], of: value.shape)))
        }
        let moments = Moments(groups: groups, channels: node.output.shape.channels, parts)
        let scale = try vector(node.inputs[1], weights)
        let shift = try vector(node.inputs[2], weights)
        for tile in states.indices {
            guard let value = values[tile] else { continue }
            states[tile][node.output.id] = moments.normalized(value, scale, shift, epsilon: epsilon)
        }
    }

    /// The rows and columns of a tile's value that no other tile stands for: up to the middle of each overlap.
    private func owned(_ origin: (row: Int, column: Int), of shape: Shape) -> (rows: Range<Int>, columns: Range<Int>) {
        func range(_ axis: TileGrid.Axis, _ start: Int, _ extent: Int) -> Range<Int> {
            let ratio = extent / axis.tile
            let before = axis.starts.last { $0 < start }.map { (start + $0 + axis.tile) / 2 - start } ?? 0
            let after = axis.starts.first { $0 > start }.map { ($0 + start + axis.tile) / 2 - start } ?? axis.tile
            return before * ratio..<after * ratio
        }
        return (range(grid.rows, origin.row, shape[1]), range(grid.columns, origin.column, shape[2]))
    }

    private func vector(_ tensor: Tensor, _ weights: any WeightSource) throws -> [Float] {
        guard case .weight(let name) = graph.value(tensor).origin else { return [] }
        return try weights.floats(name)
    }
}

/// Mean and variance of each group of channels over the parts of all tiles that make up the picture.
private struct Moments {
    private let means: [Double]
    private let variances: [Double]
    private let width: Int

    /// A value, and the rows and columns of it that count.
    struct Part {
        let value: HostTensor
        let owned: (rows: Range<Int>, columns: Range<Int>)
    }

    init(groups: Int, channels: Int, _ parts: [Part]) {
        let width = channels / groups
        var sums = [Double](repeating: 0, count: groups)
        var squares = sums
        var pixels = 0
        for part in parts {
            let (value, owned) = (part.value, part.owned)
            pixels += owned.rows.count * owned.columns.count
            value.floats.withUnsafeBufferPointer { values in
                for row in owned.rows {
                    for column in owned.columns {
                        let start = (row * value.shape[2] + column) * channels
                        for group in 0..<groups {
                            var (sum, square) = (Float(0), Float(0))
                            for element in values[(start + group * width)..<(start + (group + 1) * width)] {
                                sum += element
                                square += element * element
                            }
                            sums[group] += Double(sum)
                            squares[group] += Double(square)
                        }
                    }
                }
            }
        }
        let count = Double(max(1, pixels * width))
        let means = sums.map { $0 / count }
        self.width = width
        self.means = means
        variances = zip(squares, means).map { max(0, $0 / count - $1 * $1) }
    }

    /// (x - mean) / sqrt(variance + ε) · scale + shift.
    func normalized(_ tensor: HostTensor, _ scale: [Float], _ shift: [Float], epsilon: Float) -> HostTensor {
        let factors = scale.indices.map { channel in
            scale[channel] * Float(1 / (variances[channel / width] + Double(epsilon)).squareRoot())
        }
        let offsets = shift.indices.map { shift[$0] - Float(means[$0 / width]) * factors[$0] }
        let channels = factors.count
        var values = tensor.floats
        values.withUnsafeMutableBufferPointer { values in
            for start in stride(from: 0, to: values.count, by: channels) {
                for channel in 0..<channels {
                    values[start + channel] = values[start + channel] * factors[channel] + offsets[channel]
                }
            }
        }
        return HostTensor(tensor.shape, values)
    }
}
