import CalderaGraph
import Testing

/// What does not fit together is refused while the graph is built, with the layer's name and both shapes.
@Suite struct ShapeRuleTests {
    private struct Fault: Sendable, CustomStringConvertible {
        let description: String
        /// What the message must contain.
        let parts: [String]
        let build: @Sendable (Graph) throws -> Void

        init(_ description: String, _ parts: [String], _ build: @escaping @Sendable (Graph) throws -> Void) {
            self.description = description
            self.parts = parts
            self.build = build
        }
    }

    private static let faults: [Fault] = [
        Fault("matmul", ["layer", "[2, 3, 8]", "[4, 7]"]) {
            let source = $0.input("x", [2, 3, 8], .float32)
            _ = try $0.linear(source, weight: $0.weight("w", [4, 7]), bias: nil, label: "layer")
        },
        Fault("matmul with a wide kernel", ["layer", "[2, 8]", "[4, 8, 3, 3]"]) {
            let source = $0.input("x", [2, 8], .float32)
            _ = try $0.linear(source, weight: $0.weight("w", [4, 8, 3, 3]), bias: nil, label: "layer")
        },
        Fault("matmul of a weight without rows", ["layer", "[2, 8]", "[8]"]) {
            _ = try $0.linear($0.input("x", [2, 8], .float32), weight: $0.weight("w", [8]), bias: nil, label: "layer")
        },
        Fault("matmul of another type", ["layer", "float16", "[2, 8]"]) {
            let source = $0.input("x", [2, 8], .float16)
            _ = try $0.linear(source, weight: $0.weight("w", [4, 8]), bias: nil, label: "layer")
        },
        Fault("bias", ["layer", "[5]", "4 channels"]) {
            let source = $0.input("x", [2, 8], .float32)
            _ = try $0.linear(source, weight: $0.weight("w", [4, 8]), bias: $0.weight("b", [5]), label: "layer")
        },
        Fault("convolution", ["layer", "[1, 4, 4, 3]", "[8, 4, 3, 3]"]) {
            let source = $0.input("x", [1, 4, 4, 3], .float32)
            let weight = try $0.weight("w", [8, 4, 3, 3])
            _ = try $0.convolution(source, weight: weight, bias: nil, padding: Padding(1), label: "layer")
        },
        Fault("convolution of a small picture", ["layer", "[1, 2, 2, 3]"]) {
            let source = $0.input("x", [1, 2, 2, 3], .float32)
            let weight = try $0.weight("w", [8, 3, 3, 3])
            _ = try $0.convolution(source, weight: weight, bias: nil, padding: Padding(0), label: "layer")
        },
        Fault("convolution without a stride", ["layer", "stride 0"]) {
            let source = $0.input("x", [1, 4, 4, 3], .float32)
            let weight = try $0.weight("w", [8, 3, 3, 3])
            _ = try $0.convolution(source, weight: weight, bias: nil, stride: 0, padding: Padding(1), label: "layer")
        },
        Fault("group norm", ["layer", "10 channels", "4 groups"]) {
            let vector = try $0.weight("w", [10])
            let source = $0.input("x", [1, 2, 2, 10], .float32)
            _ = try $0.groupNorm(source, weight: vector, bias: vector, groups: 4, epsilon: 0, label: "layer")
        },
        Fault("layer norm", ["layer", "[9]", "10 channels"]) {
            let vector = try $0.weight("w", [9])
            let source = $0.input("x", [2, 10], .float32)
            _ = try $0.layerNorm(source, weight: vector, bias: vector, epsilon: 0, label: "layer")
        },
        Fault("attention", ["layer", "3 heads", "[1, 5, 8]", "[1, 7, 8]"]) {
            let query = $0.input("q", [1, 5, 8], .float32)
            let key = $0.input("k", [1, 7, 8], .float32)
            _ = try $0.attention(query: query, key: key, value: key, heads: 3, label: "layer")
        },
        Fault("embedding", ["layer", "[1, 9]", "[50, 4]", "[8, 4]"]) {
            let ids = $0.input("ids", [1, 9], .int32)
            _ = try $0.embedding(
                ids: ids, tokens: $0.weight("t", [50, 4]), positions: $0.weight("p", [8, 4]), label: "layer")
        },
        Fault("add", ["layer", "[2, 3, 4]", "[3, 4]"]) {
            _ = try $0.add($0.input("x", [2, 3, 4], .float32), $0.input("y", [3, 4], .float32), label: "layer")
        },
        Fault("add of two types", ["layer", "float32", "float16"]) {
            _ = try $0.add($0.input("x", [2, 3], .float32), $0.input("y", [2, 3], .float16), label: "layer")
        },
        Fault("outer sum", ["layer", "[2, 3]", "[2, 4]"]) {
            _ = try $0.outerSum($0.input("x", [2, 3], .float32), $0.input("y", [2, 4], .float32), label: "layer")
        },
        Fault("GEGLU", ["layer", "[2, 5]"]) { _ = try $0.geglu($0.input("x", [2, 5], .float32), label: "layer") },
        Fault("concat", ["layer", "[2, 3, 4]", "[2, 5, 5]"]) {
            let (left, right) = ($0.input("x", [2, 3, 4], .float32), $0.input("y", [2, 5, 5], .float32))
            _ = try $0.concat(left, right, axis: 1, label: "layer")
        },
        Fault("concat on no axis", ["layer", "axis 3"]) {
            let source = $0.input("x", [2, 3, 4], .float32)
            _ = try $0.concat(source, source, axis: 3, label: "layer")
        },
        Fault("select", ["layer", "[4, 2]", "[2]"]) {
            _ = try $0.select($0.input("x", [4, 2], .float32), $0.input("i", [2], .int32), label: "layer")
        },
        Fault("gather", ["layer", "[2, 4, 3]", "[3]"]) {
            _ = try $0.gatherToken($0.input("x", [2, 4, 3], .float32), $0.input("i", [3], .int32), label: "layer")
        },
        Fault("weighted sum", ["layer", "[2, 3]", "[3, 2]", "[4, 2]"]) {
            let terms = [(0, $0.input("x", [2, 3], .float32)), (1, $0.input("y", [3, 2], .float32))]
            _ = try $0.weightedSum(
                terms, coefficients: $0.input("c", [4, 2], .float32), step: $0.input("s", [1], .int32),
                dtype: .float32, label: "layer")
        },
        Fault("weighted sum of too many", ["layer", "8 terms", "7"]) {
            let source = $0.input("x", [2, 3], .float32)
            _ = try $0.weightedSum(
                Array(repeating: (0, source), count: Graph.largestWeightedSum + 1),
                coefficients: $0.input("c", [4, 2], .float32), step: $0.input("s", [1], .int32), dtype: .float32,
                label: "layer")
        },
        Fault("blend by a mask of another size", ["layer", "[2, 4, 4, 4]", "[1, 4, 5, 1]"]) {
            let source = $0.input("x", [2, 4, 4, 4], .float32)
            _ = try $0.blend(source, source, mask: $0.input("m", [1, 4, 5, 1], .float32), label: "layer")
        },
        Fault("blend of halves", ["layer", "float16"]) {
            let source = $0.input("x", [1, 4, 4, 4], .float16)
            _ = try $0.blend(source, source, mask: $0.input("m", [1, 4, 4, 1], .float32), label: "layer")
        },
        Fault("rescale by a column that is not there", ["layer", "column 2", "[4, 2]"]) {
            let source = $0.input("x", [1, 4, 4, 4], .float32)
            _ = try $0.rescale(
                guided: source, prompted: source, coefficients: $0.input("c", [4, 2], .float32), column: 2,
                step: $0.input("s", [1], .int32), label: "layer")
        },
        Fault("assign", ["layer", "[2, 3]", "[3, 2]"]) {
            try $0.assign($0.input("x", [2, 3], .float32), to: $0.state("s", [3, 2], .float32), label: "layer")
        },
        Fault("reshape", ["[2, 3]", "[7]"]) { _ = try $0.reshape($0.input("x", [2, 3], .float32), [7]) },
        Fault("slice", ["[2, 3]", "1..<3"]) { _ = try $0.slice($0.input("x", [2, 3], .float32), 1..<3) },
        Fault("slice of a weight", ["the.weight"]) { _ = try $0.slice($0.weight("the.weight", [4, 3]), 0..<2) },
        Fault("a weight under two shapes", ["the.weight", "[4, 3]", "[3, 4]"]) {
            _ = try $0.weight("the.weight", [4, 3])
            _ = try $0.weight("the.weight", [3, 4])
        },
    ]

    @Test(arguments: faults.indices)
    func mismatchIsRefusedByName(index: Int) {
        let fault = ShapeRuleTests.faults[index]
        let error = #expect(throws: CalderaError.self, "\(fault)") { try fault.build(Graph(dtype: .float32)) }
        for part in fault.parts {
            #expect(error?.message.contains(part) == true, "\(fault): \(error?.message ?? "") lacks \(part)")
        }
    }

    @Test func countsThatDoNotFitAreTheLargestNumber() {
        let huge = Shape([1 << 40, 1 << 40, 3])
        #expect(huge.count == .max)
        #expect(huge.rows == .max)
        #expect(Shape.checkedCount(huge.extents) == nil)
        #expect(Shape.checkedCount([3, -1]) == nil)
        #expect(Shape.checkedCount([3, 0, 5]) == 0)
    }

    @Test(arguments: [[1 << 40, 1 << 40], [Int.max / 2], [1 << 47]])
    func tensorsBeyondAnyMemoryAreRefusedByThePlanner(extents: [Int]) throws {
        let graph = Graph(dtype: .float16)
        let source = graph.input("x", Shape(extents), .float16)
        graph.output("y", graph.activation(source, .silu, label: "silu"))
        let error = #expect(throws: CalderaError.self) { try Planner.plan(graph) }
        #expect(error?.message.contains("\(Shape(extents))") == true)
    }

    @Test func tensorLargerThanOneAllocationIsRefused() throws {
        let graph = Graph(dtype: .float16)
        graph.output("y", graph.activation(graph.input("x", [1, 64], .float16), .silu, label: "silu"))
        #expect(try Planner.plan(graph, limits: PlanLimits(alignment: 16, blockSize: 128)).persistentSize == 256)
        #expect(throws: CalderaError.self) {
            try Planner.plan(graph, limits: PlanLimits(alignment: 16, blockSize: 127))
        }
    }
}
