import CalderaGraph
import CalderaModels

/// An autoencoder's network for pictures of one size: whole, or on tiles of them.
struct LatentWork {
    enum Direction: String {
        case encoder
        case decoder
    }

    let direction: Direction
    /// Of the whole picture, or of one tile.
    let plan: Plan
    let weights: any WeightSource
    /// Nil where the picture stays whole.
    let tiles: SteppedTiles?
    /// Pixels of a latent, in rows and columns.
    let scale: Int

    /// What it is called where it fails.
    var part: String { "vae \(direction.rawValue)" }

    /// What running it takes where `budget` bytes are left; nil for no bound.
    func forecast(_ backend: any Backend, budget: Int?) throws -> TileForecast {
        if let tiles { return try tiles.forecast(weights: weights, backend: backend, budget: budget) }
        return TileForecast(memory: try backend.forecast(plan, weights: weights, budget: budget), spilled: 0)
    }

    /// What is told of its tiles; nil where the picture stays whole.
    var tileLayout: MemoryPrediction.TileLayout? {
        tiles.map { tiles in
            MemoryPrediction.TileLayout(
                count: tiles.grid.origins.count, width: tiles.grid.columns.tile * scale,
                height: tiles.grid.rows.tile * scale)
        }
    }

    /// Whether it fits `budget` bytes with its weights streamed if need be, and all of it in memory; nil for no bound.
    fileprivate func fits(_ backend: any Backend, _ budget: Int?, spills: Bool = false) throws -> Bool {
        guard let budget else { return true }
        let forecast = try forecast(backend, budget: budget)
        return forecast.memory.total <= budget && (spills || forecast.spilled == 0)
    }
}

extension LatentCoder {
    /// What works on a picture, and whether other parts of the pipeline may stay in memory beside it.
    struct Choice {
        let work: LatentWork
        let keepsOthers: Bool
    }

    /// The smallest tile that is chosen, in latents: 512 pixels at eight pixels a latent.
    package static let smallestTile = 64

    /// The sides of tiles for a plane, the largest first, each half of the one before.
    package static func tileSides(height: Int, width: Int) -> [Int] {
        var sides: [Int] = []
        var side = max(height, width)
        while side > smallestTile {
            side = max((side + 1) / 2, smallestTile)
            sides.append(side)
        }
        return sides
    }

    /// The picture whole where that fits, else the largest tiles that do, in latents of `height` by `width`.
    /// - Parameters:
    ///   - beside: bytes that are left beside the other parts; nil where nobody knows.
    ///   - alone: bytes that are left without them.
    func work(
        _ direction: LatentWork.Direction, height: Int, width: Int, _ dtype: DType, beside: Int?, alone: Int?
    ) throws -> Choice {
        func work(_ side: Int?) throws -> LatentWork {
            try self.work(direction, height: height, width: width, dtype, side: side)
        }
        if tiling != .on {
            let whole = try work(nil)
            if try whole.fits(backend, beside) { return Choice(work: whole, keepsOthers: true) }
            if try tiling == .off || whole.fits(backend, alone) { return Choice(work: whole, keepsOthers: false) }
        }
        let sides = tiling == .on ? [Self.smallestTile] : Self.tileSides(height: height, width: width)
        for side in sides {
            let tiled = try work(side)
            if tiling == .on, try tiled.fits(backend, beside) { return Choice(work: tiled, keepsOthers: true) }
            if try tiled.fits(backend, alone, spills: true) { return Choice(work: tiled, keepsOthers: false) }
        }
        return Choice(work: try work(sides.last), keepsOthers: false)
    }

    /// On tiles of `side` latents; nil for the whole picture.
    private func work(
        _ direction: LatentWork.Direction, height: Int, width: Int, _ dtype: DType, side: Int?
    ) throws -> LatentWork {
        let grid = TileGrid(height: height, width: width, tile: side ?? max(height, width))
        let graph = try graph(direction, height: grid.rows.tile, width: grid.columns.tile, dtype)
        let tiles =
            grid.isWhole
            ? nil
            : try SteppedTiles(
                whole: self.graph(direction, height: height, width: width, dtype), tile: graph, grid: grid,
                part: "vae", limits: plans.limits)
        return LatentWork(
            direction: direction, plan: try plans.autoencoderPlan(graph), weights: plans.parts.autoencoderWeights,
            tiles: tiles, scale: plans.parts.autoencoder.downscale)
    }

    /// The network for latents of that size.
    private func graph(_ direction: LatentWork.Direction, height: Int, width: Int, _ dtype: DType) throws -> Graph {
        let scale = plans.parts.autoencoder.downscale
        return direction == .decoder
            ? try plans.decoderGraph(height: height, width: width, dtype: dtype)
            : try plans.pictureEncoderGraph(height: height * scale, width: width * scale, dtype: dtype)
    }
}
