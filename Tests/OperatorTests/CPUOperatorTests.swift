import CalderaCPU
import CalderaGraph
import CalderaTestSupport
import Foundation
import Testing

/// The processor against the naive reference, case by case, with guards 16 bytes away from each output.
@Suite struct CPUOperatorTests {
    /// fp32 on any processor, bf16 where it has such arithmetic.
    private static let types: [DType] = {
        guard let backend = try? CPUBackend() else { return [] }
        return Precision.allCases.filter(backend.supports).map(\.dtype)
    }()

    private let backend: CPUBackend

    init() throws { backend = try CPUBackend() }

    @Test func fp32IsAlwaysThereAndFp16Never() {
        #expect(backend.supports(.fp32))
        #expect(!backend.supports(.fp16))
        #expect(Self.types.contains(.float32))
    }

    @Test(arguments: operatorCases, types)
    func agreesWithTheReference(operatorCase: OperatorCase, dtype: DType) throws {
        let report = try check(operatorCase, on: backend, dtype: dtype, limits: PlanLimits(alignment: 16))
        #expect(report.passed, "\(report)")
    }

    /// Weights of every stored type, each converted on the way.
    @Test(arguments: [DType.float32, .float16, .bfloat16], types)
    func packsWeightsOfEveryType(stored: DType, dtype: DType) throws {
        let graph = Graph(dtype: dtype)
        let source = graph.input("source", [2, 5, 6, 8], dtype)
        let convolved = try graph.convolution(
            source, weight: graph.weight("kernel", [24, 8, 3, 3]), bias: graph.weight("bias", [24]),
            padding: Padding(1), label: "convolution")
        let product = try graph.linear(convolved, weight: graph.weight("matrix", [40, 24]), bias: nil, label: "linear")
        let gates = try graph.linear(
            product, weight: graph.weight("gates", [36, 40]), bias: graph.weight("gate bias", [36]), label: "gates")
        graph.output("result", try graph.geglu(gates, label: "gated"))
        var weights: [String: HostTensor] = [:]
        for (name, shape) in graph.weights {
            // Multiples of 1/16 below 1 are exact in each type.
            weights[name] = HostTensor(shape, (0..<shape.count).map { Float($0 * 7 % 31 - 15) / 16 })
        }
        let plan = try Planner.plan(graph, limits: backend.limits)
        let contents = HostTensor(source.shape, (0..<source.shape.count).map { Float($0 * 5 % 23 - 11) / 16 })
        let results = try [backend as any Backend, NaiveBackend()].map { backend in
            let executable = try backend.compile(plan, weights: MemoryWeights(weights, dtype: stored))
            try executable.write("source", contents)
            try executable.run(.prompt)
            return try executable.read("result").floats
        }
        let largest = results[1].map(abs).max() ?? 0
        let bound: Float = dtype == .float32 ? 1e-5 : 1.5e-2
        for (found, wanted) in zip(results[0], results[1]) { #expect(abs(found - wanted) <= bound * largest) }
    }

    /// Enlarged pictures too large for one band of rows: [height, width, channels] of the source, the size that it gets
    /// and the channels of the result. The last two have twice the source's size.
    @Test(arguments: [
        ([72, 128, 64], [287, 256], 3), ([150, 128, 8], [300, 256], 72), ([9, 5, 8], [18, 10], 24),
    ])
    func enlargesInBands(extents: [Int], size: [Int], results: Int) throws {
        let shape: Shape = [2, extents[0], extents[1], extents[2]]
        let kernel: Shape = [results, extents[2], 3, 3]
        func build(storesEnlarged: Bool) throws -> Graph {
            let graph = Graph(dtype: .float32)
            let source = graph.input("source", shape, .float32)
            let large = try graph.upsampleNearest(source, height: size[0], width: size[1], label: "enlargement")
            let convolved = try graph.convolution(
                large, weight: graph.weight("kernel", kernel), bias: nil, padding: Padding(1), label: "convolution")
            if storesEnlarged { graph.output("enlarged", large) }
            graph.output("result", convolved)
            return graph
        }
        let weights = MemoryWeights([
            "kernel": HostTensor(kernel, (0..<kernel.count).map { Float($0 % 13 - 6) / 64 })
        ])
        let contents = HostTensor(shape, (0..<shape.count).map { Float($0 % 37 - 18) / 32 })
        let found = try [true, false].map { storesEnlarged in
            let plan = try Planner.plan(try build(storesEnlarged: storesEnlarged), limits: backend.limits)
            let executable = try backend.compile(plan, weights: weights)
            try executable.write("source", contents)
            try executable.run(.prompt)
            return try executable.read("result").floats
        }
        for (left, right) in zip(found[0], found[1]) where abs(left - right) > 1e-4 {
            Issue.record("\(left) is not \(right)")
            break
        }
    }

    /// More keys than one block has. The largest score of a row lies in any block, so what was computed before it is
    /// rescaled.
    @Test(arguments: [DType.float32, .bfloat16], [false, true])
    func attendsBlockByBlock(dtype: DType, causal: Bool) throws {
        if dtype == .bfloat16, !backend.supports(.bf16) { return }
        let tokens = 2300
        let graph = Graph(dtype: dtype)
        let inputs = ["query", "key", "value"].map { graph.input($0, [1, tokens, 16], dtype) }
        graph.output(
            "result",
            try graph.attention(
                query: inputs[0], key: inputs[1], value: inputs[2], heads: 2, causal: causal, label: "attention"))
        let plan = try Planner.plan(graph, limits: backend.limits)
        let results = try [backend as any Backend, NaiveBackend()].map { backend in
            let executable = try backend.compile(plan, weights: MemoryWeights([:]))
            for (index, name) in ["query", "key", "value"].enumerated() {
                let values = (0..<tokens * 16).map { Float($0 * (2 * index + 7) % 61 - 30) / 16 }
                try executable.write(name, HostTensor([1, tokens, 16], values))
            }
            try executable.run(.prompt)
            return try executable.read("result").floats
        }
        let bound: Float = dtype == .float32 ? 1e-5 : 1.5e-2
        let largest = results[1].map(abs).max() ?? 0
        let difference = zip(results[0], results[1]).map { abs($0 - $1) }.max() ?? 0
        #expect(difference <= bound * largest)
    }

    @Test func refusesFp16PlansWithARemedy() throws {
        let graph = Graph(dtype: .float16)
        graph.output("result", graph.activation(graph.input("source", [4], .float16), .relu, label: "relu"))
        let plan = try Planner.plan(graph, limits: backend.limits)
        let error = #expect(throws: CalderaError.self) { _ = try backend.compile(plan, weights: MemoryWeights([:])) }
        #expect(error?.message.contains("fp32 or bf16") == true)
    }

    @Test func refusesWrongNamesShapesAndIndices() throws {
        let graph = Graph(dtype: .float32)
        let table = graph.input("table", [3, 4], .float32)
        let index = graph.input("index", [1], .int32)
        graph.output("row", try graph.select(table, index, label: "the row"))
        let plan = try Planner.plan(graph, limits: backend.limits)
        let executable = try backend.compile(plan, weights: MemoryWeights([:]))
        let vector = HostTensor([4], [1, 2, 3, 4] as [Float])
        #expect(throws: CalderaError.self) { try executable.write("tables", vector) }
        #expect(throws: CalderaError.self) { try executable.write("table", vector) }
        #expect(throws: CalderaError.self) { _ = try executable.read("table") }
        for wrong: Int32 in [-1, 3] {
            try executable.write("index", HostTensor([1], [wrong]))
            let error = #expect(throws: CalderaError.self) { try executable.run(.prompt) }
            #expect(error?.message.contains("the row") == true)
        }
    }

    @Test func countsMemoryUntilItIsReleased() throws {
        let backend = try CPUBackend()
        #expect(backend.peakMemory == 0)
        let graph = Graph(dtype: .float32)
        let source = graph.input("source", [64, 64], .float32)
        graph.output(
            "result", try graph.linear(source, weight: graph.weight("w", [64, 64]), bias: nil, label: "linear"))
        let plan = try Planner.plan(graph, limits: backend.limits)
        let weights = MemoryWeights(["w": HostTensor([64, 64], [Float](repeating: 1, count: 4096))])
        let first = try backend.compile(plan, weights: weights).memory
        let peak = backend.peakMemory
        #expect(first.weights >= 64 * 64 * 4)
        #expect(peak >= first.total)
        // The first executable is gone: a second one takes its place.
        _ = try backend.compile(plan, weights: weights)
        #expect(backend.peakMemory == peak)
    }

    @Test func saysWhatRunsANode() throws {
        let graph = Graph(dtype: .float32)
        let source = graph.input("source", [1, 8, 8, 4], .float32)
        let convolved = try graph.convolution(
            source, weight: graph.weight("w", [8, 4, 3, 3]), bias: graph.weight("b", [8]), padding: Padding(1),
            label: "convolution")
        graph.output("result", graph.activation(convolved, .silu, label: "silu"))
        let plan = try Planner.plan(graph, limits: backend.limits)
        let node = try #require(plan.promptNodes.first)
        #expect(backend.describe(node, in: plan) == "oneDNN convolution 3x3 fp32, epilogue bias+silu")
    }
}
