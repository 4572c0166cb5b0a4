import CalderaGraph
import CalderaTestSupport
import Foundation
import Testing

/// The reference itself, against results that are known without it.
@Suite struct NaiveTests {
    /// The single output of a graph on the naive backend.
    private func result(
        _ contents: [String: HostTensor], weights: [String: HostTensor] = [:], _ make: (Graph) throws -> Tensor
    ) throws -> [Float] {
        let graph = Graph(dtype: .float32)
        graph.output("result", try make(graph))
        let plan = try Planner.plan(graph)
        let executable = try NaiveBackend().compile(plan, weights: MemoryWeights(weights))
        for (name, tensor) in contents { try executable.write(name, tensor) }
        try executable.run(.prompt)
        return try executable.read("result").floats
    }

    private func ramp(_ shape: Shape, from start: Float = 0, by step: Float = 1) -> HostTensor {
        HostTensor(shape, (0..<shape.count).map { start + step * Float($0) })
    }

    private func isClose(_ left: [Float], _ right: [Float], _ bound: Float = 1e-6) -> Bool {
        left.count == right.count && zip(left, right).allSatisfy { abs($0 - $1) <= bound }
    }

    @Test func matmulMultipliesByTheTransposedWeight() throws {
        // [1 2 3; 4 5 6] · [1 0 -1; 2 1 0]ᵀ + [10 20] = [8 24; 8 33]
        let weights = [
            "w": HostTensor([2, 3], [1, 0, -1, 2, 1, 0] as [Float]), "b": HostTensor([2], [10, 20] as [Float]),
        ]
        let found = try result(["x": ramp([2, 3], from: 1)], weights: weights) { graph in
            let source = graph.input("x", [2, 3], .float32)
            return try graph.linear(
                source, weight: graph.weight("w", [2, 3]), bias: graph.weight("b", [2]), label: "product")
        }
        #expect(found == [8, 24, 8, 33])
    }

    @Test func epilogueAddsBiasThenRowThenActivatesThenAddsTheResidual() throws {
        let weights = ["w": HostTensor([1, 1], [1] as [Float]), "b": HostTensor([1], [-1] as [Float])]
        let contents = [
            "x": HostTensor([2, 2, 1], [1, 2, 3, 4] as [Float]), "row": HostTensor([2, 1], [-1, -5] as [Float]),
            "residual": HostTensor([2, 2, 1], [100, 200, 300, 400] as [Float]),
        ]
        let found = try result(contents, weights: weights) { graph in
            let source = graph.input("x", [2, 2, 1], .float32)
            let row = graph.input("row", [2, 1], .float32)
            let residual = graph.input("residual", [2, 2, 1], .float32)
            let product = try graph.linear(
                source, weight: graph.weight("w", [1, 1]), bias: graph.weight("b", [1]), label: "product")
            let activated = graph.activation(try graph.add(product, row, label: "row"), .relu, label: "relu")
            return try graph.add(activated, residual, label: "residual")
        }
        // relu of [1-2, 2-2, 3-6, 4-6] is zero, plus the residual.
        #expect(found == [100, 200, 300, 400])
    }

    @Test(arguments: [0, 1, 2], [0, 1, 2])
    func deltaKernelShiftsThePicture(row: Int, column: Int) throws {
        var kernel = [Float](repeating: 0, count: 9)
        kernel[row * 3 + column] = 1
        let found = try result(
            ["x": ramp([1, 3, 4, 1], from: 1)], weights: ["w": HostTensor([1, 1, 3, 3], kernel)]
        ) { graph in
            try graph.convolution(
                graph.input("x", [1, 3, 4, 1], .float32), weight: graph.weight("w", [1, 1, 3, 3]), bias: nil,
                padding: Padding(1), label: "convolution")
        }
        let expected = (0..<12).map { index -> Float in
            let (y, x) = (index / 4 + row - 1, index % 4 + column - 1)
            return (0..<3).contains(y) && (0..<4).contains(x) ? Float(y * 4 + x + 1) : 0
        }
        #expect(found == expected)
    }

    @Test func strideTwoWithAsymmetricPaddingStartsAtTheFirstPixel() throws {
        let ones = [Float](repeating: 1, count: 9)
        let found = try result(
            ["x": ramp([1, 4, 4, 1])], weights: ["w": HostTensor([1, 1, 3, 3], ones)]
        ) { graph in
            try graph.convolution(
                graph.input("x", [1, 4, 4, 1], .float32), weight: graph.weight("w", [1, 1, 3, 3]), bias: nil,
                stride: 2, padding: Padding(top: 0, left: 0, bottom: 1, right: 1), label: "convolution")
        }
        // Sums of rows 0-2 and columns 0-2; 0-2 and 2-3; 2-3 and 0-2; 2-3 and 2-3 of 0...15.
        #expect(found == [45, 39, 66, 50])
    }

    @Test func convolutionOfAnEnlargedPictureIsThatOfTheEnlargedCopy() throws {
        var kernel = [Float](repeating: 0, count: 9)
        kernel[4] = 1
        let found = try result(
            ["x": ramp([1, 2, 2, 1])], weights: ["w": HostTensor([1, 1, 3, 3], kernel)]
        ) { graph in
            let large = try graph.upsampleNearest(
                graph.input("x", [1, 2, 2, 1], .float32), height: 3, width: 5, label: "enlargement")
            return try graph.convolution(
                large, weight: graph.weight("w", [1, 1, 3, 3]), bias: nil, padding: Padding(1), label: "convolution")
        }
        #expect(found == [0, 0, 0, 1, 1, 0, 0, 0, 1, 1, 2, 2, 2, 3, 3])
    }

    @Test func groupNormLeavesMeanZeroAndVarianceOneInEachGroup() throws {
        let weights = [
            "w": HostTensor([4], [Float](repeating: 1, count: 4)),
            "b": HostTensor([4], [Float](repeating: 0, count: 4)),
        ]
        var stream = SeededRandom(named: "group norm")
        let contents = (0..<2 * 15 * 4).map { _ in Float(3 + 2 * stream.normal()) }
        let found = try result(["x": HostTensor([2, 3, 5, 4], contents)], weights: weights) { graph in
            try graph.groupNorm(
                graph.input("x", [2, 3, 5, 4], .float32), weight: graph.weight("w", [4]), bias: graph.weight("b", [4]),
                groups: 2, epsilon: 0, label: "norm")
        }
        for batch in 0..<2 {
            for group in 0..<2 {
                let members = (0..<60).filter { $0 % 4 / 2 == group }.map { Double(found[batch * 60 + $0]) }
                #expect(abs(members.reduce(0, +)) < 1e-5)
                #expect(abs(members.reduce(0) { $0 + $1 * $1 } / 30 - 1) < 1e-6)
            }
        }
    }

    @Test func layerNormOfTwoValuesIsPlusAndMinusOne() throws {
        let weights = ["w": HostTensor([2], [2, 3] as [Float]), "b": HostTensor([2], [10, 20] as [Float])]
        let found = try result(["x": HostTensor([2, 2], [1, 5, 9, -7] as [Float])], weights: weights) { graph in
            try graph.layerNorm(
                graph.input("x", [2, 2], .float32), weight: graph.weight("w", [2]), bias: graph.weight("b", [2]),
                epsilon: 0, label: "norm")
        }
        #expect(isClose(found, [8, 23, 12, 17]))
    }

    @Test func attentionWithEqualKeysTakesTheMeanOfTheValues() throws {
        let contents = [
            "q": ramp([1, 2, 4]), "k": HostTensor([1, 3, 4], [Float](repeating: 0.5, count: 12)), "v": ramp([1, 3, 4]),
        ]
        let found = try result(contents) { graph in
            try graph.attention(
                query: graph.input("q", [1, 2, 4], .float32), key: graph.input("k", [1, 3, 4], .float32),
                value: graph.input("v", [1, 3, 4], .float32), heads: 2, label: "attention")
        }
        #expect(isClose(found, [4, 5, 6, 7, 4, 5, 6, 7]))
    }

    @Test func causalAttentionSeesNothingThatFollows() throws {
        let found = try result([
            "x": HostTensor([1, 3, 1], [0, 0, 0] as [Float]), "v": ramp([1, 3, 1], from: 6, by: 6),
        ]) {
            let source = $0.input("x", [1, 3, 1], .float32)
            return try $0.attention(
                query: source, key: source, value: $0.input("v", [1, 3, 1], .float32), heads: 1, causal: true,
                label: "attention")
        }
        #expect(isClose(found, [6, 9, 12]))
    }

    @Test func attentionScalesLogitsByTheRootOfTheHeadSize() throws {
        // q·k / √4 = [ln 3, 0], so that the weights are 3/4 and 1/4.
        let logit = Float(log(3.0))
        let contents = [
            "q": HostTensor([1, 1, 4], [2 * logit, 0, 0, 0]),
            "k": HostTensor([1, 2, 4], [1, 0, 0, 0, 0, 0, 0, 0] as [Float]),
            "v": HostTensor([1, 2, 4], [4, 4, 4, 4, 8, 8, 8, 8] as [Float]),
        ]
        let found = try result(contents) { graph in
            try graph.attention(
                query: graph.input("q", [1, 1, 4], .float32), key: graph.input("k", [1, 2, 4], .float32),
                value: graph.input("v", [1, 2, 4], .float32), heads: 1, label: "attention")
        }
        #expect(isClose(found, [5, 5, 5, 5]))
    }

    @Test func sinusoidOfOneHasTheDefinedFrequencies() throws {
        let found = try result(["t": HostTensor([1], [1] as [Float])]) { graph in
            try graph.sinusoid(
                graph.input("t", [1], .float32), channels: 4, flipSinToCos: true, shift: 0, label: "sinusoid")
        }
        #expect(isClose(found, [cos(1), cos(0.01), sin(1), sin(0.01)].map { Float($0 as Double) }))
    }

    @Test func activationsTakeTheirKnownValuesAtOne() throws {
        let known: [(Activation, Float)] = [
            (.silu, 0.7310586), (.gelu, 0.8413447), (.quickGELU, 0.8457958), (.relu, 1),
        ]
        for (function, value) in known {
            let found = try result(["x": HostTensor([2], [1, -40] as [Float])]) { graph in
                graph.activation(graph.input("x", [2], .float32), function, label: "activation")
            }
            #expect(isClose(found, [value, 0]), "\(function)")
        }
    }

    @Test func geluGateIsTheSecondHalf() throws {
        let found = try result(["x": HostTensor([1, 4], [2, 3, 1, -40] as [Float])]) { graph in
            try graph.geglu(graph.input("x", [1, 4], .float32), label: "gate")
        }
        #expect(isClose(found, [1.6826895, 0]))
    }

    @Test func concatenationOnAMiddleAxisInterleavesRuns() throws {
        let found = try result(["a": ramp([2, 1, 2]), "b": ramp([2, 2, 2], from: 10)]) { graph in
            try graph.concat(
                graph.input("a", [2, 1, 2], .float32), graph.input("b", [2, 2, 2], .float32), axis: 1, label: "concat")
        }
        #expect(found == [0, 1, 10, 11, 12, 13, 2, 3, 14, 15, 16, 17])
    }

    @Test func tablesAreReadByTheirIndices() throws {
        let contents = ["table": ramp([3, 2, 2]), "row": HostTensor([1], [2] as [Int32])]
        #expect(
            try result(contents) {
                try $0.select($0.input("table", [3, 2, 2], .float32), $0.input("row", [1], .int32), label: "row")
            } == [8, 9, 10, 11])
        let tokens = ["x": ramp([2, 3, 2]), "i": HostTensor([2], [2, 0] as [Int32])]
        #expect(
            try result(tokens) {
                try $0.gatherToken($0.input("x", [2, 3, 2], .float32), $0.input("i", [2], .int32), label: "token")
            } == [4, 5, 6, 7])
    }

    @Test func indexBeyondTheTableIsAnError() {
        let contents = ["table": ramp([3, 2]), "row": HostTensor([1], [3] as [Int32])]
        #expect(throws: CalderaError.self) {
            try result(contents) {
                try $0.select($0.input("table", [3, 2], .float32), $0.input("row", [1], .int32), label: "row")
            }
        }
    }

    @Test func embeddingAddsThePositionOfEachToken() throws {
        let weights = ["t": ramp([4, 2], by: 10), "p": ramp([3, 2])]
        let found = try result(["ids": HostTensor([2, 2], [3, 0, 1, 1] as [Int32])], weights: weights) { graph in
            try graph.embedding(
                ids: graph.input("ids", [2, 2], .int32), tokens: graph.weight("t", [4, 2]),
                positions: graph.weight("p", [3, 2]), label: "embedding")
        }
        #expect(found == [60, 71, 2, 13, 20, 31, 22, 33])
    }

    @Test func weightedSumTakesItsRowAndColumns() throws {
        let contents = [
            "c": ramp([2, 3]), "s": HostTensor([1], [1] as [Int32]), "a": ramp([2], from: 1), "b": ramp([2], from: 10),
        ]
        // Row 1 is [3 4 5]: 5·a + 3·b.
        let found = try result(contents) { graph in
            let coefficients = graph.input("c", [2, 3], .float32)
            let step = graph.input("s", [1], .int32)
            let terms = [(2, graph.input("a", [2], .float32)), (0, graph.input("b", [2], .float32))]
            return try graph.weightedSum(terms, coefficients: coefficients, step: step, dtype: .float32, label: "sum")
        }
        #expect(found == [35, 43])
    }

    @Test func blendTakesTheSecondWhereTheMaskIsOne() throws {
        let contents = [
            "a": ramp([2, 1, 3, 1], from: 1), "b": ramp([2, 1, 3, 1], from: 11),
            "m": HostTensor([1, 1, 3, 1], [0, 1, 0.5] as [Float]),
        ]
        let found = try result(contents) { graph in
            let (first, second) = (graph.input("a", [2, 1, 3, 1], .float32), graph.input("b", [2, 1, 3, 1], .float32))
            return try graph.blend(first, second, mask: graph.input("m", [1, 1, 3, 1], .float32), label: "blend")
        }
        #expect(found == [1, 12, 8, 4, 15, 11])
    }

    @Test func rescaleBringsTheGuidedTowardsTheSpreadOfThePrompted() throws {
        let contents = [
            "c": HostTensor([1, 1], [0.5] as [Float]), "s": HostTensor([1], [0] as [Int32]),
            "g": HostTensor([2, 2], [0, 8, 1, 2] as [Float]), "p": HostTensor([2, 2], [5, 7, 1, 2] as [Float]),
        ]
        // The first entry's spreads are as 4 to 1, the second's are the same.
        let found = try result(contents) { graph in
            try graph.rescale(
                guided: graph.input("g", [2, 2], .float32), prompted: graph.input("p", [2, 2], .float32),
                coefficients: graph.input("c", [1, 1], .float32), column: 0, step: graph.input("s", [1], .int32),
                label: "rescale")
        }
        #expect(found == [0, 5, 1, 2])
    }

    @Test func elementTypesRoundToTheNearestEven() {
        #expect(ElementCoding.rounded(1 + 0x1p-11, to: .float16) == 1)
        #expect(ElementCoding.rounded(1 + 0x3p-11, to: .float16) == 1 + 0x1p-9)
        #expect(ElementCoding.rounded(1 + 0x1p-8, to: .bfloat16) == 1)
        #expect(ElementCoding.rounded(1 + 0x3p-8, to: .bfloat16) == 1 + 0x1p-6)
        #expect(ElementCoding.rounded(70000, to: .float16) == .infinity)
        let encoded = ElementCoding.encoded([1.5, -2], as: .bfloat16)
        #expect(encoded == [0xc0, 0x3f, 0x00, 0xc0])
        #expect(encoded.withUnsafeBytes { ElementCoding.decoded($0, as: .bfloat16) } == [1.5, -2])
    }
}
