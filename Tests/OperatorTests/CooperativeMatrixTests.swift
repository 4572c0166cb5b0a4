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

    @Test func devicesWithMatricesHaveTilesForThem() throws {
        try withVulkan { device in
            let tiles = MatrixTile.candidates(on: device.info).filter { $0.core == .cooperative }
            let buildHasKernels = KernelBinaries.contains("gemm_cooperative.FP16")
            #expect(buildHasKernels == (KernelBinaries.missing["gemm_cooperative.FP16"] == nil))
            #expect(tiles.isEmpty == (device.info.cooperativeMatrices.isEmpty || !buildHasKernels))
            if CooperativeMatrixTests.isRequired {
                #expect(!tiles.isEmpty, "\(device.info.name) of \(device.info.driver); left out: \(KernelBinaries.missing)")
            }
        }
    }

    /// All of the table's rows on the smallest tile, whose edges most rows cross, and some on each of the others: every
    /// epilogue of every tile is a pipeline, which a software driver takes seconds to compile.
    @Test func everyProductAndConvolutionMatchesTheReference() throws {
        let rows = operatorCases.filter { $0.name.hasPrefix("matmul") || $0.name.hasPrefix("convolution") }
        #expect(rows.count >= 20)
        try withVulkan { device in
            let tiles = MatrixTile.candidates(on: device.info).filter { $0.core == .cooperative }
            for tile in tiles {
                let backend = VulkanBackend(device: device, matrixTile: tile)
                let limits = PlanLimits(alignment: 16, blockSize: backend.limits.blockSize)
                for (index, row) in rows.enumerated() where tile == tiles.last || index.isMultiple(of: 4) {
                    let report = try check(row, on: backend, dtype: .float16, limits: limits)
                    #expect(report.passed, "\(tile): \(report)")
                }
            }
        }
    }
}
