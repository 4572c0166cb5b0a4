import CalderaGraph

/// Equal tiles that cover a plane with overlap, and the weights that blend what was computed of each.
///
/// Each tile weighs 1 in its middle and falls linearly to nothing towards an edge that another tile covers, so that no
/// seam has a step (diffusers `AutoencoderKL.blend_h`, `blend_v`).
package struct TileGrid {
    /// Rows or columns of the plane, of a tile, and at least of what two neighbours share.
    package struct Axis {
        package let extent: Int
        package let tile: Int
        package let overlap: Int

        /// Where the tiles begin: evenly spread, the last one ends with the plane.
        package var starts: [Int] {
            guard tile < extent else { return [0] }
            let stride = max(1, tile - overlap)
            let count = (extent - tile + stride - 1) / stride
            return (0...count).map { $0 * (extent - tile) / count }
        }
    }

    package let rows: Axis
    package let columns: Axis

    /// Tiles of at most `tile` by `tile` that share a quarter of their side.
    package init(height: Int, width: Int, tile: Int) {
        rows = Axis(extent: height, tile: min(tile, height), overlap: tile / 4)
        columns = Axis(extent: width, tile: min(tile, width), overlap: tile / 4)
    }

    /// The tiles' upper left corners, row by row.
    package var origins: [(row: Int, column: Int)] {
        rows.starts.flatMap { row in columns.starts.map { (row, $0) } }
    }

    package var isWhole: Bool { origins.count == 1 }

    /// The tile of `plane` [1, H, W, C] at a corner, where the plane has `scale` rows and columns for each of the grid's.
    package func cut(_ plane: HostTensor, at origin: (row: Int, column: Int), scale: Int) -> HostTensor {
        let channels = plane.shape[3]
        let (height, width) = (rows.tile * scale, columns.tile * scale)
        let values = plane.floats
        var tile: [Float] = []
        tile.reserveCapacity(height * width * channels)
        for row in origin.row * scale..<origin.row * scale + height {
            let start = (row * plane.shape[2] + origin.column * scale) * channels
            tile += values[start..<start + width * channels]
        }
        return HostTensor([1, height, width, channels], tile)
    }
}

/// Puts tiles together in a plane that has `scale` rows and columns for each of a grid's.
package struct TileMosaic {
    private let grid: TileGrid
    private let scale: Int
    private let channels: Int
    private let shape: Shape
    /// Of each row and column, what all tiles together weigh there.
    private let rowTotals: [Float]
    private let columnTotals: [Float]
    private var sums: [Float]

    package init(_ grid: TileGrid, channels: Int, scale: Int) {
        self.grid = grid
        self.scale = scale
        self.channels = channels
        shape = [1, grid.rows.extent * scale, grid.columns.extent * scale, channels]
        rowTotals = grid.rows.totals(scale: scale)
        columnTotals = grid.columns.totals(scale: scale)
        sums = [Float](repeating: 0, count: shape.count)
    }

    /// Adds what was computed of the tile at `origin`.
    package mutating func add(_ tile: HostTensor, at origin: (row: Int, column: Int)) {
        let (top, left) = (origin.row * scale, origin.column * scale)
        let rowWeights = grid.rows.ramp(at: origin.row, scale: scale)
        let columnWeights = grid.columns.ramp(at: origin.column, scale: scale)
        let values = tile.floats
        for row in rowWeights.indices {
            let start = (top + row) * shape[2] + left
            let rowWeight = rowWeights[row] / rowTotals[top + row]
            for column in columnWeights.indices {
                let weight = rowWeight * columnWeights[column] / columnTotals[left + column]
                let source = (row * columnWeights.count + column) * channels
                for channel in 0..<channels {
                    sums[(start + column) * channels + channel] += weight * values[source + channel]
                }
            }
        }
    }

    /// The whole plane, [1, H, W, C].
    package func result() -> HostTensor { HostTensor(shape, sums) }
}

extension TileGrid.Axis {
    /// The weight of each row or column of the tile that starts at `start`, before it is shared with its neighbours.
    fileprivate func ramp(at start: Int, scale: Int) -> [Float] {
        let starts = starts
        let before = starts.last { $0 < start }.map { ($0 + tile - start) * scale }
        let after = starts.first { $0 > start }.map { (start + tile - $0) * scale }
        let length = tile * scale
        return (0..<length).map { index in
            let rising = before.map { (Float(index) + 0.5) / Float($0) } ?? 1
            let falling = after.map { (Float(length - index) - 0.5) / Float($0) } ?? 1
            return min(1, rising, falling)
        }
    }

    /// The sum of all tiles' ramps at each row or column.
    fileprivate func totals(scale: Int) -> [Float] {
        var totals = [Float](repeating: 0, count: extent * scale)
        for start in starts {
            for (index, weight) in ramp(at: start, scale: scale).enumerated() {
                totals[start * scale + index] += weight
            }
        }
        return totals
    }
}
