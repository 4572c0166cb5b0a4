import CalderaGPU
import CalderaGraph
import CalderaTestSupport
import CalderaVulkan
import Testing

/// What the backend promises beside the operators' results.
@Suite struct VulkanBackendTests {
    private func executable(
        _ device: VulkanDevice, dtype: DType = .float32, weights: [String: HostTensor] = [:],
        _ build: (Graph) throws -> Void
    ) throws -> any Executable {
        let graph = Graph(dtype: dtype)
        try build(graph)
        let backend = VulkanBackend(device: device)
        let plan = try Planner.plan(graph, limits: backend.limits)
        return try backend.compile(plan, weights: MemoryWeights(weights))
    }

    /// A tensor beyond 128 MiB, more than lavapipe's descriptors could span, is right to its end.
    @Test func tensorsMayBeLargerThanADescriptorCouldSpan() throws {
        let shape: Shape = [33, 1 << 20]
        try withVulkan { device in
            let executable = try executable(device) { graph in
                let source = graph.input("source", shape, .float32)
                graph.output("result", graph.activation(source, .relu, label: "relu"))
            }
            #expect(executable.memory.persistent > 256 << 20)
            var values = [Float](repeating: -1, count: shape.count)
            for index in [0, 33_554_431, 33_554_432, shape.count - 1] { values[index] = Float(index) }
            try executable.write("source", HostTensor(shape, values))
            try executable.run(.prompt)
            let found = try executable.read("result").floats
            for index in [0, 1, 33_554_430, 33_554_431, 33_554_432, shape.count - 2, shape.count - 1] {
                #expect(found[index] == max(values[index], 0), "element \(index)")
            }
        }
    }

    @Test func wrongNamesShapesAndTypesAreErrors() throws {
        try withVulkan { device in
            let executable = try executable(device) { graph in
                let source = graph.input("source", [2, 3], .float32)
                _ = graph.input("ids", [4], .int32)
                graph.output("result", graph.activation(source, .relu, label: "relu"))
            }
            let six = HostTensor([3, 2], [Float](repeating: 0, count: 6))
            #expect(throws: CalderaError.self) { try executable.write("other", six) }
            #expect(throws: CalderaError("The input source is [2, 3]; it was given [3, 2].")) {
                try executable.write("source", six)
            }
            #expect(throws: CalderaError("The input ids takes integers; it was given floating-point numbers.")) {
                try executable.write("ids", HostTensor([4], [0, 1, 2, 3] as [Float]))
            }
            #expect(throws: CalderaError.self) { _ = try executable.read("source of all evil") }
        }
    }

    @Test func bfloat16IsBadUsage() throws {
        try withVulkan { device in
            let error = #expect(throws: CalderaError.self) {
                _ = try executable(device, dtype: .bfloat16) { graph in
                    let source = graph.input("source", [2], .bfloat16)
                    graph.output("result", graph.activation(source, .relu, label: "relu"))
                }
            }
            #expect(error?.kind == .usage)
            #expect(error?.message.contains("bf16") == true)
        }
    }

    /// Weights that fp16 cannot hold are refused by name, not turned into infinities.
    @Test func weightsBeyondTheRangeOfHalvesAreNamed() throws {
        let weights = ["layer.weight": HostTensor([1, 2], [1, 70_000] as [Float])]
        try withVulkan { device in
            let error = #expect(throws: CalderaError.self) {
                _ = try executable(device, dtype: .float16, weights: weights) { graph in
                    let source = graph.input("source", [1, 2], .float16)
                    let weight = try graph.weight("layer.weight", [1, 2])
                    graph.output("result", try graph.linear(source, weight: weight, bias: nil, label: "layer"))
                }
            }
            #expect(error?.message.contains("layer.weight") == true)
        }
    }

    /// Every fp16 number comes back as it went, and fp32 is rounded to the nearest, ties to even.
    @Test func halvesSurviveTheWayThereAndBack() throws {
        let all = (UInt16.min...UInt16.max).map { Float16(bitPattern: $0) }.filter(\.isFinite)
        let between = zip(all, all.dropFirst()).map { (Float($0) + Float($1)) / 2 }
        let nudged = between.flatMap { [$0, $0.nextUp, $0.nextDown] }
        for values in [all.map { Float($0) }, nudged, [65519, 65520, -65520, 1e9, 1e-9, -0.0, 5.9e-8, 2.9e-8]] {
            try withVulkan { device in
                let executable = try executable(device, dtype: .float16) { graph in
                    _ = graph.state("state", [values.count], .float16)
                }
                try executable.write("state", HostTensor([values.count], values))
                let found = try executable.read("state").floats
                let wanted = values.map { Float(Float16($0)) }
                #expect(zip(found, wanted).allSatisfy { $0.bitPattern == $1.bitPattern })
            }
        }
    }

    @Test func nodesAreDescribedByKernelTileAndEpilogue() throws {
        try withVulkan { device in
            let graph = Graph(dtype: .float16)
            let source = graph.input("source", [64, 32], .float16)
            let product = try graph.linear(
                source, weight: graph.weight("w", [48, 32]), bias: graph.weight("b", [48]), label: "layer")
            graph.output("result", graph.activation(product, .silu, label: "silu"))
            let backend = VulkanBackend(device: device, matrixTile: .shared(64, 64, 16, 4, 4))
            let plan = try Planner.plan(graph, limits: backend.limits)
            let nodes = plan.promptNodes.map { backend.describe($0, in: plan) }
            #expect(nodes == ["gemm.FP16 64x64x16 bias+silu"])
        }
    }
}
