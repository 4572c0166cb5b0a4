import CalderaDiffusion
import CalderaGraph
import Testing

/// Tiles cover the plane, and what each keeps of itself adds up to it.
@Suite struct TileGridTests {
    static let planes = [(64, 64), (80, 128), (65, 64), (7, 5), (200, 33), (129, 255), (1, 1)]

    @Test("Tiles lie inside, cover all and share a quarter", arguments: planes, [1, 4, 16, 64])
    func coverage(plane: (height: Int, width: Int), tile: Int) {
        let grid = TileGrid(height: plane.height, width: plane.width, tile: tile)
        for axis in [grid.rows, grid.columns] {
            let starts = axis.starts
            #expect(axis.tile == min(tile, axis.extent))
            #expect(starts.first == 0 && starts.last == axis.extent - axis.tile)
            for (start, next) in zip(starts, starts.dropFirst()) {
                #expect(next > start && next - start <= max(1, tile - tile / 4))
            }
        }
        #expect(grid.origins.count == grid.rows.starts.count * grid.columns.starts.count)
        #expect(grid.isWhole == (tile >= max(plane.height, plane.width)))
    }

    @Test("Tiles of a plane put together are the plane", arguments: planes, [(4, 2), (16, 1), (64, 1)])
    func mosaic(plane: (height: Int, width: Int), tiles: (size: Int, scale: Int)) {
        let (tile, scale) = tiles
        let grid = TileGrid(height: plane.height, width: plane.width, tile: tile)
        let shape: Shape = [1, plane.height * scale, plane.width * scale, 2]
        let whole = HostTensor(shape, (0..<shape.count).map { Float($0 * 37 % 101) - 50 })
        var mosaic = TileMosaic(grid, channels: 2, scale: scale)
        for origin in grid.origins { mosaic.add(grid.cut(whole, at: origin, scale: scale), at: origin) }
        let result = mosaic.result()
        #expect(result.shape == shape)
        #expect(zip(result.floats, whole.floats).allSatisfy { abs($0 - $1) < 1e-4 })
    }

    @Test("Between two tiles the one fades into the other, without a step") func fading() {
        let grid = TileGrid(height: 4, width: 28, tile: 16)
        #expect(grid.columns.starts == [0, 12])
        var mosaic = TileMosaic(grid, channels: 1, scale: 1)
        for (value, origin) in zip([Float(0), 1], grid.origins) {
            mosaic.add(HostTensor([1, 4, 16, 1], [Float](repeating: value, count: 64)), at: origin)
        }
        let row = Array(mosaic.result().floats.prefix(28))
        #expect(row.prefix(12).allSatisfy { $0 == 0 } && row.suffix(12).allSatisfy { $0 == 1 })
        #expect(row[12..<16].elementsEqual([0.125, 0.375, 0.625, 0.875]))
    }
}
