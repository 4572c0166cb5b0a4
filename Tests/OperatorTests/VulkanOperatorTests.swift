import CalderaGPU
import CalderaGraph
import CalderaTestSupport
import CalderaVulkan
import Testing

/// The table on a Vulkan device, under the validation layer with synchronisation checks.
@Suite struct VulkanOperatorTests {
    @Test(arguments: [DType.float32, .float16])
    func everyCaseMatchesTheReference(dtype: DType) throws {
        try withVulkan { device in
            let backend = VulkanBackend(device: device)
            // An alignment of 16 puts guards right beside the outputs.
            let limits = PlanLimits(alignment: 16, blockSize: backend.limits.blockSize)
            for operatorCase in operatorCases where !operatorCase.explicitTypes.contains(.bfloat16) {
                let report = try check(operatorCase, on: backend, dtype: dtype, limits: limits)
                #expect(report.passed, "\(report)")
            }
        }
    }

    /// Software drivers choose one core and real GPUs the other: each tiling is run here, wherever the test runs.
    @Test func everyMatrixTilingMatchesTheReference() throws {
        try withVulkan { device in
            // Each epilogue of each tiling is a pipeline, which a software driver takes seconds to compile: a few cases of
            // each kind, spread over the table.
            let cases = ["matmul", "convolution"].flatMap { kind -> [OperatorCase] in
                let rows = operatorCases.filter { $0.name.hasPrefix(kind) }
                return stride(from: 3, to: rows.count, by: max(1, rows.count / 3)).map { rows[$0] }
            }
            #expect(cases.count >= 6)
            for tile in MatrixTile.candidates(on: device.info) {
                let backend = VulkanBackend(device: device, matrixTile: tile)
                for (index, operatorCase) in cases.enumerated() {
                    let dtype = index.isMultiple(of: 2) && tile.supports(.float32) ? DType.float32 : .float16
                    let report = try check(operatorCase, on: backend, dtype: dtype)
                    #expect(report.passed, "\(tile.core) \(tile): \(report)")
                }
            }
        }
    }

    /// A plan whose regions are made of many allocations.
    @Test func smallBlocksChangeNothing() throws {
        try withVulkan { device in
            let backend = VulkanBackend(device: device)
            // As small as the largest value of each allows.
            let blocks = [
                "graph: a residual block": 8 << 10, "graph: a transformer block": 12 << 10,
                "graph: a skip connection": 4 << 10,
            ]
            for (name, blockSize) in blocks {
                let operatorCase = try #require(operatorCases.first { $0.name == name })
                let limits = PlanLimits(alignment: 256, blockSize: blockSize)
                let plan = try Planner.plan(try operatorCase.built(dtype: .float32).graph, limits: limits)
                #expect(plan.arenaSize + plan.persistentSize > limits.blockSize)
                let report = try check(operatorCase, on: backend, dtype: .float32, limits: limits)
                #expect(report.passed, "\(report)")
            }
        }
    }
}

/// Runs `body` on the first usable device; the validation layer must have nothing to say.
func withVulkan(_ body: (VulkanDevice) throws -> Void) throws {
    let instance = try VulkanInstance(validation: true)
    try { () throws in
        let physical = try #require(try instance.physicalDevices().first { $0.info.unusableReason == nil })
        try body(VulkanDevice(physical))
    }()
    #expect(instance.messages.isEmpty, "the validation layer says: \(instance.messages.prefix(3))")
}
