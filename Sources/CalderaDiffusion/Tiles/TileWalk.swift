import CalderaGraph

/// What runs the stretches of a network: a device, or a rehearsal that computes nothing.
protocol TileStage: AnyObject {
    /// Calls `body` while the executable of a stretch is in memory; nil for none, in a rehearsal.
    func withExecutable(of stretch: Int, _ body: ((any Executable)?) throws -> Void) throws
    /// A weight of a norm.
    func vector(_ name: String) throws -> [Float]
    /// What to say of an executable that has just given values which are not finite.
    func notFinite(_ executable: any Executable) throws -> CalderaError
}

/// One walk through the stretches of a network, with the values that wait between them.
///
/// A rehearsal is the same walk without elements: it takes the same places in the same order, so that what it counts is
/// what the walk will take.
final class TileWalk {
    private let tiles: SteppedTiles
    private let origins: [(row: Int, column: Int)]
    private let room: WaitingRoom
    private let stage: any TileStage
    private var values: [Int: WaitingValue] = [:]
    private var affines: [Int: ChannelAffine] = [:]
    /// The result as it grows, where tiles give it.
    private var mosaic: TileMosaic?

    init(_ tiles: SteppedTiles, room: WaitingRoom, stage: any TileStage) {
        self.tiles = tiles
        self.room = room
        self.stage = stage
        origins = tiles.grid.origins
    }

    /// What went wrong in a stretch.
    struct NotFinite: Error {
        let error: CalderaError
    }

    /// The network's input for the whole plane -> its output; nil -> nil in a rehearsal.
    /// Throws `NotFinite` where values are not finite numbers, `CalderaError` for all else.
    func run(_ source: HostTensor?) throws -> HostTensor? {
        let input = WaitingValue(tiles.input.shape, tiles.input.dtype, entries: 1, room: room)
        try input.put(source?.floats, at: 0)
        values[tiles.input.id] = input
        for (index, stretch) in tiles.stretches.enumerated() {
            try arrange(stretch)
            try room.passing(tiles.resultSize(stretch)) { try run(stretch, index) }
            for id in stretch.finished { values[id] = nil }
        }
        if let mosaic { return mosaic.result() }
        try arrange(tiles.stored(tiles.result), isWhole: true)
        guard source != nil, let value = values[tiles.stored(tiles.result)] else { return nil }
        return HostTensor(value.shape, try floats(tiles.result, at: 0))
    }

    // MARK: Stretches

    private func run(_ stretch: SteppedTiles.Stretch, _ index: Int) throws {
        var moments = stretch.norm.map { GroupMoments(groups: $0.groups, channels: $0.shape.channels) }
        if stretch.plan != nil {
            try stage.withExecutable(of: index) { executable in
                for entry in 0..<(stretch.isWhole ? 1 : origins.count) {
                    try run(stretch, at: entry, on: executable, &moments)
                }
            }
        }
        guard let norm = stretch.norm, var moments else { return }
        if !stretch.segment.outputs.contains(where: { $0.id == norm.source }) { try gather(norm, into: &moments) }
        affines[norm.id] = moments.norm(
            scale: try stage.vector(norm.scale), shift: try stage.vector(norm.shift), epsilon: norm.epsilon)
    }

    /// Runs one tile, or the whole plane. What nothing else takes goes as soon as the device has it.
    private func run(
        _ stretch: SteppedTiles.Stretch, at entry: Int, on executable: (any Executable)?,
        _ moments: inout GroupMoments?
    ) throws {
        for input in stretch.segment.inputs {
            try lend(input.id, at: entry) { floats in
                try executable?.write(GraphSegment.name(of: input), HostTensor(input.shape, floats))
            }
        }
        let normed = stretch.norm.map { tiles.stored($0.source) }
        for id in stretch.sources.intersection(stretch.finished) where id != normed { values[id]?.release(entry) }
        try executable?.run(.prompt)
        for output in stretch.segment.outputs {
            try room.passing(4 * output.shape.count) {
                let floats = try executable.map { try read(output, $0) }
                if let floats, output.id == stretch.norm?.source {
                    add(floats, output.shape, at: entry, isWhole: stretch.isWhole, to: &moments)
                }
                try keep(floats, of: output, at: entry, stretch)
            }
        }
    }

    private func read(_ output: Tensor, _ executable: any Executable) throws -> [Float] {
        let floats = try executable.read(GraphSegment.name(of: output)).floats
        guard floats.allSatisfy(\.isFinite) else { throw NotFinite(error: try stage.notFinite(executable)) }
        return floats
    }

    private func keep(
        _ floats: [Float]?, of output: Tensor, at entry: Int, _ stretch: SteppedTiles.Stretch
    ) throws {
        guard output.id == tiles.result, tiles.finishes(stretch) else {
            let entries = stretch.isWhole ? 1 : origins.count
            let value =
                values[output.id] ?? WaitingValue(output.shape, output.dtype, entries: entries, room: room)
            values[output.id] = value
            return try value.put(floats, at: entry)
        }
        if let floats { add(HostTensor(output.shape, floats), at: origins[entry], to: &mosaic) }
    }

    // MARK: Values

    /// Lends an entry of a value to `body`; norms are computed on the way.
    private func lend(_ id: Int, at entry: Int, _ body: ([Float]) throws -> Void) throws {
        guard let value = values[tiles.stored(id)] else {
            throw CalderaError("A stretch of the autoencoder takes a value that nothing has made.")
        }
        let copied = tiles.norm(giving: id) == nil ? value.copySize(entry) : 4 * value.shape.count
        try room.passing(copied) { try body(floats(id, at: entry)) }
    }

    private func floats(_ id: Int, at entry: Int) throws -> [Float] {
        guard let norm = tiles.norm(giving: id) else { return try values[id]?.floats(at: entry) ?? [] }
        var floats = try floats(norm.source, at: entry)
        affines[id]?.apply(to: &floats)
        return floats
    }

    /// Brings what a stretch takes into the form in which it takes it.
    private func arrange(_ stretch: SteppedTiles.Stretch) throws {
        for id in stretch.sources.sorted() { try arrange(id, isWhole: stretch.isWhole) }
    }

    private func arrange(_ id: Int, isWhole: Bool) throws {
        guard let value = values[id], (value.count == 1) != isWhole else { return }
        values[id] = isWhole ? try joined(value) : try cut(value)
    }

    private func cut(_ plane: WaitingValue) throws -> WaitingValue {
        let shape = try tiles.tileShape(plane.shape)
        let value = WaitingValue(shape, plane.dtype, entries: origins.count, room: room)
        try room.passing(plane.copySize(0) + 4 * shape.count) {
            let floats = try plane.floats(at: 0)
            let whole = floats.isEmpty ? nil : HostTensor(plane.shape, floats)
            for (entry, origin) in origins.enumerated() {
                let tile = whole.map { tiles.grid.cut($0, at: origin, scale: shape[1] / tiles.grid.rows.tile) }
                try value.put(tile?.floats, at: entry)
            }
        }
        return value
    }

    private func joined(_ parts: WaitingValue) throws -> WaitingValue {
        let shape = try tiles.planeShape(parts.shape)
        let value = WaitingValue(shape, parts.dtype, entries: 1, room: room)
        try room.passing(4 * (shape.count + parts.shape.count)) {
            var mosaic: TileMosaic?
            for (entry, origin) in origins.enumerated() {
                let floats = try parts.floats(at: entry)
                if !floats.isEmpty { add(HostTensor(parts.shape, floats), at: origin, to: &mosaic) }
                parts.release(entry)
            }
            try value.put(mosaic?.result().floats, at: 0)
        }
        return value
    }

    private func add(_ tile: HostTensor, at origin: (row: Int, column: Int), to mosaic: inout TileMosaic?) {
        var grown =
            mosaic ?? TileMosaic(tiles.grid, channels: tile.shape[3], scale: tile.shape[1] / tiles.grid.rows.tile)
        // Two owners would copy it.
        mosaic = nil
        grown.add(tile, at: origin)
        mosaic = grown
    }

    // MARK: Statistics

    /// Adds what a norm takes where no stretch has just made it.
    private func gather(_ norm: SteppedTiles.Norm, into moments: inout GroupMoments) throws {
        guard let value = values[tiles.stored(norm.source)] else { return }
        var sums: GroupMoments? = moments
        for entry in 0..<value.count {
            try lend(norm.source, at: entry) { floats in
                if floats.isEmpty { return }
                add(floats, value.shape, at: entry, isWhole: value.count == 1, to: &sums)
            }
        }
        moments = sums ?? moments
    }

    /// Adds the part of a tile's value that no other tile stands for: up to the middle of each overlap.
    private func add(
        _ floats: [Float], _ shape: Shape, at entry: Int, isWhole: Bool, to moments: inout GroupMoments?
    ) {
        if isWhole {
            let all = Shape([1, shape.count / shape.channels, 1, shape.channels])
            moments?.add(floats, shape: all, rows: 0..<all[1], columns: 0..<1)
            return
        }
        let origin = origins[entry]
        moments?.add(
            floats, shape: shape, rows: tiles.grid.rows.owned(origin.row, extent: shape[1]),
            columns: tiles.grid.columns.owned(origin.column, extent: shape[2]))
    }
}

extension TileGrid.Axis {
    /// Of the tile that starts at `start`, with `extent` elements on this axis: those that are its own.
    fileprivate func owned(_ start: Int, extent: Int) -> Range<Int> {
        let ratio = extent / tile
        let before = starts.last { $0 < start }.map { (start + $0 + tile) / 2 - start } ?? 0
        let after = starts.first { $0 > start }.map { ($0 + start + tile) / 2 - start } ?? tile
        return before * ratio..<after * ratio
    }
}
