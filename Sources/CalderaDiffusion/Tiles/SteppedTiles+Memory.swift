import CalderaGraph

/// What a network on tiles will take.
struct TileForecast {
    /// Of the moment at which most is taken; the streamed weights are those of all stretches.
    let memory: MemoryForecast
    /// Bytes of values that wait in files, each time that one is put there.
    let spilled: Int
}

extension SteppedTiles {
    /// The network's input for the whole plane -> its output, within the memory that is left: stretches first, weights
    /// streamed where they must be, and what is left is for values that wait.
    ///
    /// Throws `TileWalk.NotFinite` where values are not finite numbers, `CalderaError` when there is less memory than the
    /// least that works, and for all else.
    func run(
        _ source: HostTensor, weights: any WeightSource, backend: any Backend, part: String
    ) throws -> HostTensor {
        let available = backend.availableMemory
        let shares = try Shares(self, weights, backend, budget: available)
        if let available, shares.least > available {
            try rehearsed(shares, backend).memory.check(budget: available, on: backend.name)
        }
        let room = WaitingRoom(capacity: shares.waiting) { backend.countHostMemory($0) }
        let stage = LiveStage(self, shares: shares, weights: weights, backend: backend, part: part)
        return try TileWalk(self, room: room, stage: stage).run(source) ?? source
    }

    /// What `run` would take where `budget` bytes are left (nil: no bound), as `Backend.forecast` says of a plan.
    func forecast(weights: any WeightSource, backend: any Backend, budget: Int?) throws -> TileForecast {
        try rehearsed(Shares(self, weights, backend, budget: budget), backend)
    }

    private func rehearsed(_ shares: Shares, _ backend: any Backend) throws -> TileForecast {
        let rehearsal = Rehearsal(shares.forecasts)
        let room = WaitingRoom(capacity: shares.waiting) { if backend.countsHostMemory { rehearsal.count($0) } }
        _ = try TileWalk(self, room: room, stage: rehearsal).run(nil)
        return TileForecast(memory: rehearsal.forecast, spilled: room.spilled)
    }

    /// How the memory that is left is divided.
    fileprivate struct Shares {
        /// For values that wait; nil for no bound.
        let waiting: Int?
        /// For the executable of each stretch; nil for no bound.
        let executables: [Int?]
        let forecasts: [MemoryForecast?]
        /// With nothing but files for values to wait in.
        let least: Int

        init(_ tiles: SteppedTiles, _ weights: any WeightSource, _ backend: any Backend, budget: Int?) throws {
            let counts = backend.countsHostMemory
            let passing = try tiles.stretches.map { counts ? try tiles.passing($0) : 0 }
            let forecasts = try zip(tiles.stretches, passing).map { stretch, passing in
                try stretch.plan.map {
                    try backend.forecast($0, weights: weights, budget: budget.map { max(0, $0 - passing) })
                }
            }
            let moved = counts ? try tiles.stretches.map(tiles.moved).max() ?? 0 : 0
            let least = zip(forecasts, passing).reduce(moved) { max($0, ($1.0?.total ?? 0) + $1.1) }
            self.forecasts = forecasts
            self.least = least
            executables = passing.map { budget == nil ? nil : least - $0 }
            waiting = counts ? budget.map { max(0, $0 - least) } : nil
        }
    }

    /// Bytes that values take at most on their way to the device of a stretch and back.
    private func passing(_ stretch: Stretch) throws -> Int {
        let sizes = (stretch.segment.inputs + stretch.segment.outputs).map { 4 * $0.shape.count }
        return try resultSize(stretch) + (sizes.max() ?? 0)
    }

    /// Bytes that it takes at most to bring what a stretch takes into its form, before it is loaded.
    private func moved(_ stretch: Stretch) throws -> Int {
        try stretch.rearranged.map { tensor in
            let other = stretch.isWhole ? try planeShape(tensor.shape) : try tileShape(tensor.shape)
            return 4 * (tensor.shape.count + other.count)
        }.max() ?? 0
    }
}

/// Loads and runs stretches on a device.
private final class LiveStage: TileStage {
    private let tiles: SteppedTiles
    private let shares: SteppedTiles.Shares
    private let weights: any WeightSource
    private let backend: any Backend
    private let part: String

    init(
        _ tiles: SteppedTiles, shares: SteppedTiles.Shares, weights: any WeightSource, backend: any Backend,
        part: String
    ) {
        self.tiles = tiles
        self.shares = shares
        self.weights = weights
        self.backend = backend
        self.part = part
    }

    func withExecutable(of stretch: Int, _ body: ((any Executable)?) throws -> Void) throws {
        guard let plan = tiles.stretches[stretch].plan else { return }
        let executable = try backend.load(plan, weights: weights, part: part, budget: shares.executables[stretch])
        try body(executable)
    }

    func vector(_ name: String) throws -> [Float] { try weights.floats(name) }

    func notFinite(_ executable: any Executable) throws -> CalderaError {
        CalderaError.notFinite(
            try executable.firstNonFinite(.prompt), part: part, dtype: tiles.input.dtype)
    }
}

/// Counts what a walk would take.
private final class Rehearsal: TileStage {
    private let forecasts: [MemoryForecast?]
    private var now = 0
    private var peak = 0
    /// The executable that is in memory, and the one that was at the peak.
    private var loaded: MemoryForecast?
    private var largest: MemoryForecast?

    init(_ forecasts: [MemoryForecast?]) { self.forecasts = forecasts }

    func count(_ bytes: Int) {
        now += bytes
        if now > peak { (peak, largest) = (now, loaded) }
    }

    func withExecutable(of stretch: Int, _ body: ((any Executable)?) throws -> Void) throws {
        loaded = forecasts[stretch]
        let size = loaded?.total ?? 0
        count(size)
        try body(nil)
        loaded = nil
        count(-size)
    }

    func vector(_ name: String) -> [Float] { [] }

    func notFinite(_ executable: any Executable) -> CalderaError {
        CalderaError("A rehearsal computes nothing.")
    }

    /// At the peak.
    var forecast: MemoryForecast {
        var forecast =
            largest
            ?? MemoryForecast(
                weights: 0, streaming: 0, streamedWeights: 0, arena: 0, persistent: 0, working: 0, staging: 0)
        forecast.waiting = peak - forecast.total
        forecast.streamedWeights = forecasts.reduce(0) { $0 + ($1?.streamedWeights ?? 0) }
        return forecast
    }
}
