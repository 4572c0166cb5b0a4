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
            let cases = ["matmul", "gated product", "convolution"].flatMap { kind -> [OperatorCase] in
                let rows = operatorCases.filter { $0.name.hasPrefix(kind) }
                return stride(from: 3, to: rows.count, by: max(1, rows.count / 3)).map { rows[$0] }
                    + rows.filter { $0.name.contains("of two sources [65") }
            }
            #expect(cases.count >= 10)
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

    /// Products of few rows with a GPU's tile, which software drivers do not choose.
    @Test(arguments: [DType.float32, .float16])
    func rowProductsOfGPUsMatchTheReference(dtype: DType) throws {
        let cases = operatorCases.filter { $0.name.hasPrefix("matmul beside a cache") }
        #expect(cases.count >= 12)
        try withVulkan { device in
            let backend = VulkanBackend(device: device).replacing(.rows(.gpu))
            for operatorCase in cases {
                let report = try check(operatorCase, on: backend, dtype: dtype)
                #expect(report.passed, "\(report)")
            }
        }
    }

    /// Sums divided among workgroups, in each core: in parts of unequal length, in more parts than there are terms, with
    /// every part of the epilogue, and behind each other in one plan, where all share the memory for the parts.
    @Test func dividedSumsMatchTheReference() throws {
        let names = [
            "matmul [5, 1280] to 320", "matmul [17, 1] to 9", "matmul [1, 4, 4, 320] to 64",
            "matmul of two sources [19", "matmul [3, 77, 48] to 50", "convolution [1, 6, 7, 320] to 36",
            "convolution [3, 5, 5, 33] to 65", "convolution [3, 3, 4, 8] to 9",
            "graph: a residual block", "gated product [5, 1280] to 18", "gated product [31, 63] to 17",
        ]
        let cases = try names.map { name in try #require(operatorCases.first { $0.name.hasPrefix(name) }) }
        try withVulkan { device in
            let candidates = MatrixTile.candidates(on: device.info)
            // The last candidate of each core: for those beside the first the smallest tile, which compiles quickly.
            let cores: [MatrixTile.Core] = [.broadcast, .shared, .cooperative]
            for tile in cores.compactMap({ core in candidates.last { $0.core == core } }) {
                let rows = tile.core == .broadcast ? cases : Array(cases.prefix(6))
                for (index, row) in rows.enumerated() {
                    let divided = tile.divided(into: index.isMultiple(of: 2) ? 3 : 16)
                    let backend = VulkanBackend(device: device, matrixTile: divided)
                    let dtype = index.isMultiple(of: 3) && tile.supports(.float32) ? DType.float32 : .float16
                    let report = try check(row, on: backend, dtype: dtype)
                    #expect(report.passed, "\(tile.core) \(divided): \(report)")
                }
            }
        }
    }

    /// The deep narrow layers of a UNet may be divided, on small and large GPUs alike; wide ones are not.
    @Test func divisionsAreForDeepNarrowWork() throws {
        try withVulkan { device in
            var parts: [String: Set<Int>] = [:]
            for (name, extents) in ["deep": (64, 1280, 1280), "wide": (16384, 1280, 1280), "shallow": (64, 320, 320)] {
                let graph = Graph(dtype: .float16)
                let source = graph.input("source", [extents.0, extents.2], .float16)
                let weight = try graph.weight("w", [extents.1, extents.2])
                graph.output("result", try graph.linear(source, weight: weight, bias: nil, label: "layer"))
                let backend = VulkanBackend(device: device)
                let plan = try Planner.plan(graph, limits: backend.limits)
                let node = try #require(plan.promptNodes.first)
                let variants = backend.variants(of: node, in: plan)
                parts[name] = Set(variants.map { if case .matrix(let tile) = $0 { tile.parts } else { 0 } })
                let divided = try #require(variants.last)
                if case .matrix(let tile) = divided, tile.parts > 1 {
                    let text = backend.replacing(divided).describe(node, in: plan)
                    #expect(text.contains(" in \(tile.parts) parts, merge_parts.FP16 \(tile.parts) parts"), "\(text)")
                }
            }
            #expect(parts["wide"] == [1] && parts["shallow"] == [1])
            #expect(try #require(parts["deep"]).isSuperset(of: [1, 2, 4]))
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
