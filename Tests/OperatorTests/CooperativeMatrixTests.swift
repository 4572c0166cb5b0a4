import CalderaGPU
import CalderaGraph
import CalderaTestSupport
import CalderaVulkan
import Foundation
import Testing

/// The kernels for cooperative matrices: their choice anywhere, their results on a device that has such matrices.
///
/// `Tools/test-cooperative-matrices` runs these on a software driver that has them, and sets
/// `CALDERA_REQUIRE_COOPERATIVE_MATRICES` so that a device without any is a failure.
@Suite struct CooperativeMatrixTests {
    private static let isRequired =
        ProcessInfo.processInfo.environment["CALDERA_REQUIRE_COOPERATIVE_MATRICES"] == "1"

    private static let isBuilt = KernelBinaries.contains("gemm_cooperative.FP16")

    private let rows = operatorCases.filter { row in
        ["matmul", "gated product", "convolution"].contains { row.name.hasPrefix($0) }
    }

    @Test func devicesWithMatricesHaveTilesForThem() throws {
        try withVulkan { device in
            let tiles = MatrixTile.candidates(on: device.info).filter { $0.core == .cooperative }
            let buildHasKernels = KernelBinaries.contains("gemm_cooperative.FP16")
            #expect(buildHasKernels == (KernelBinaries.missing["gemm_cooperative.FP16"] == nil))
            #expect(tiles.isEmpty == (device.info.cooperativeMatrices.isEmpty || !buildHasKernels))
            if CooperativeMatrixTests.isRequired {
                #expect(
                    !tiles.isEmpty, "\(device.info.name) of \(device.info.driver); left out: \(KernelBinaries.missing)")
            }
        }
    }

    /// All of the table's rows, on the smallest tile that has several subgroups, and several matrices in each: every
    /// epilogue is a pipeline, which a software driver takes seconds to compile, the longer the larger the tile.
    @Test func everyProductAndConvolutionMatchesTheReference() throws {
        #expect(rows.count >= 60)
        try withVulkan { device in
            for matrix in device.info.cooperativeMatrices where CooperativeMatrixTests.isBuilt {
                let tile = MatrixTile.cooperative(
                    matrix, lanes: device.info.subgroupSize, down: 2, across: 2, matrix.rows, 2 * matrix.columns,
                    matrix.depth)
                let backend = VulkanBackend(device: device, matrixTile: tile)
                let limits = PlanLimits(alignment: 16, blockSize: backend.limits.blockSize)
                for row in rows {
                    let report = try check(row, on: backend, dtype: .float16, limits: limits)
                    #expect(report.passed, "\(tile): \(report)")
                }
            }
        }
    }

    /// The same through flexible matrices, some of the rows: the loops are those of the other kernel.
    @Test func flexibleMatricesMatchTheReference() throws {
        try withVulkan { device in
            let isBuilt = KernelBinaries.contains("gemm_flexible.FP16")
            if CooperativeMatrixTests.isRequired {
                #expect(isBuilt, "left out: \(KernelBinaries.missing)")
                #expect(!device.info.flexibleMatrices.isEmpty, "\(device.info.name) of \(device.info.driver)")
            }
            for matrix in device.info.flexibleMatrices where isBuilt {
                let tile = MatrixTile.flexible(
                    matrix, lanes: device.info.subgroupSize, down: 2, across: 2, matrix.rows, 2 * matrix.columns,
                    matrix.depth)
                let limits = PlanLimits(alignment: 16, blockSize: VulkanBackend(device: device).limits.blockSize)
                for (index, row) in stride(from: 0, to: rows.count, by: 3).map({ rows[$0] }).enumerated() {
                    let backend = VulkanBackend(
                        device: device, matrixTile: index.isMultiple(of: 4) ? tile.divided(into: 2) : tile)
                    let report = try check(row, on: backend, dtype: .float16, limits: limits)
                    #expect(report.passed, "\(tile): \(report)")
                }
            }
        }
    }

    /// A product and a convolution larger than any tile, on the tiles that are chosen from.
    @Test func everyCandidateMatchesTheReference() throws {
        let names = [
            "matmul [129, 40] to 70", "gated product [65, 40] to 127", "convolution [1, 16, 16, 64] to 64",
        ]
        let rows = names.compactMap { name in self.rows.first { $0.name.hasPrefix(name) } }
        #expect(rows.count == names.count)
        try withVulkan { device in
            let cores: [MatrixTile.Core] = [.cooperative, .flexible]
            for tile in MatrixTile.candidates(on: device.info) where cores.contains(tile.core) {
                let backend = VulkanBackend(device: device, matrixTile: tile)
                // Gated products are made in parts of flexible matrices alone.
                for row in rows where tile.core == .cooperative || !row.name.hasPrefix("gated product") {
                    let plan = try Planner.plan(try row.built(dtype: .float16).graph, limits: backend.limits)
                    let kernels = plan.promptNodes.map { backend.describe($0, in: plan) }
                    #expect(kernels.contains { $0.contains("_\(tile.core.rawValue).FP16 \(tile)") }, "\(kernels)")
                    let report = try check(row, on: backend, dtype: .float16)
                    #expect(report.passed, "\(tile): \(report)")
                }
            }
        }
    }

    /// Kinds as NVIDIA's and Mesa's drivers list them give tiles that fit; the choice by shape takes none of them.
    @Test(arguments: [
        (32, 227 << 10, 256, [(32, 32, 16, 128), (32, 64, 16, 256)]), (32, 48 << 10, 256, [(16, 16, 16, 0)]),
        (8, 32 << 10, 1024, [(8, 8, 8, 0)]), (32, 48 << 10, 64, [(16, 8, 4, 128), (16, 8, 8, 128)]),
    ])
    func flexibleTilesFitTheDevice(
        lanes: Int, sharedMemory: Int, side: Int, kinds: [(Int, Int, Int, Int)]
    ) throws {
        try withVulkan { device in
            var info = device.info
            info.kind = .discrete
            info.subgroupSize = lanes
            info.sharedMemory = sharedMemory
            info.reservedSharedMemory = 4 << 10
            info.flexibleSide = side
            info.maxWorkgroupInvocations = 1024
            info.flexibleMatrices = kinds.map {
                FlexibleMatrix(rows: $0.0, columns: $0.1, depth: $0.2, threads: $0.3 > 0 ? $0.3 : nil)
            }
            let isBuilt = KernelBinaries.contains("gemm_flexible.FP16")
            #expect(isBuilt == (KernelBinaries.missing["gemm_flexible.FP16"] == nil))
            let tiles = MatrixTile.candidates(on: info).filter { $0.core == .flexible }
            #expect(tiles.isEmpty != isBuilt)
            #expect(Set(tiles).count == tiles.count)
            for tile in tiles {
                let matrix = try #require(tile.matrix)
                #expect(tile.rows.isMultiple(of: matrix.rows) && tile.columns.isMultiple(of: matrix.columns))
                #expect(tile.depth.isMultiple(of: 8) && !tile.supports(.float32))
                #expect(matrix.rows <= side && matrix.columns <= side && matrix.depth <= side)
                let threads = Set(info.flexibleMatrices.compactMap(\.threads))
                #expect(tile.isOfWorkgroup ? threads.contains(tile.threads) : tile.threads.isMultiple(of: lanes))
                #expect(!tile.isOfWorkgroup || (matrix.rows == tile.rows && matrix.columns == tile.columns))
            }
            #expect(MatrixTile.choose(rows: 4096, columns: 4096, .float16, on: info).core != .flexible)
        }
    }

    /// The sizes that drivers of four vendors list give tiles that fit, and none of them is used for fp32.
    @Test(arguments: [
        (32, 48 << 10, [(16, 16, 16), (16, 8, 16), (16, 8, 8)]), (64, 32 << 10, [(16, 16, 16)]),
        (32, 32 << 10, [(16, 16, 16)]), (16, 64 << 10, [(8, 16, 16)]), (8, 32 << 10, [(8, 8, 8)]),
    ])
    func tilesFitTheDevice(lanes: Int, sharedMemory: Int, sizes: [(Int, Int, Int)]) throws {
        try withVulkan { device in
            var info = device.info
            info.kind = .discrete
            info.subgroupSize = lanes
            info.sharedMemory = sharedMemory
            info.maxWorkgroupInvocations = 1024
            info.cooperativeMatrices = sizes.map { CooperativeMatrix(rows: $0.0, columns: $0.1, depth: $0.2) }
            let tiles = MatrixTile.candidates(on: info).filter { $0.core == .cooperative }
            #expect(tiles.isEmpty != CooperativeMatrixTests.isBuilt)
            for matrix in info.cooperativeMatrices where CooperativeMatrixTests.isBuilt {
                #expect(tiles.count { $0.matrix == matrix } >= 2, "\(matrix)")
            }
            for tile in tiles {
                let matrix = try #require(tile.matrix)
                #expect(tile.threadRows.isMultiple(of: matrix.rows) && tile.rows.isMultiple(of: tile.threadRows))
                #expect(tile.threadColumns.isMultiple(of: matrix.columns))
                #expect(tile.columns.isMultiple(of: tile.threadColumns))
                #expect(tile.depth.isMultiple(of: matrix.depth) && tile.depth.isMultiple(of: 8))
                #expect(tile.threads.isMultiple(of: lanes) && tile.threads <= 1024)
                #expect(!tile.supports(.float32))
            }
            let halves = MatrixTile.choose(rows: 4096, columns: 4096, .float16, on: info)
            #expect(halves.core == (CooperativeMatrixTests.isBuilt ? .cooperative : .shared))
            #expect(MatrixTile.choose(rows: 4096, columns: 4096, .float32, on: info).core == .shared)
        }
    }
}
