import CalderaGraph
import Testing

/// Which nodes remain, with which operands in which order.
@Suite struct FusionTests {
    private let graph = Graph(dtype: .float32)

    private func nodes() throws -> [Node] {
        let plan = try Planner.plan(graph)
        return plan.promptNodes + plan.stepNodes
    }

    private func product(_ source: Tensor, _ name: String = "w", bias: Bool = false) throws -> Tensor {
        let channels = source.shape.channels
        return try graph.linear(
            source, weight: graph.weight(name, [channels, channels]), bias: bias ? graph.weight("b", [channels]) : nil,
            label: "product \(name)")
    }

    @Test(arguments: [false, true])
    func everyEpilogueJoinsItsProductInOrder(residualIsLeft: Bool) throws {
        let source = graph.input("x", [2, 5, 8], .float32)
        let rows = graph.input("rows", [2, 8], .float32)
        let residual = graph.input("residual", [2, 5, 8], .float32)
        let timed = try graph.add(try product(source, bias: true), rows, label: "rows")
        let activated = graph.activation(timed, .silu, label: "silu")
        let result = try graph.add(
            residualIsLeft ? residual : activated, residualIsLeft ? activated : residual, label: "residual")
        graph.output("y", result)

        let nodes = try nodes()
        #expect(nodes.count == 1)
        let node = try #require(nodes.first)
        let epilogue = try #require(node.op.epilogue)
        #expect(epilogue.bias && epilogue.rowBias && epilogue.activation == .silu && epilogue.residual)
        #expect(
            node.inputs.map(\.id)
                == [source, try graph.weight("w", [8, 8]), try graph.weight("b", [8]), rows, residual].map(\.id))
        #expect([epilogue.biasIndex, epilogue.rowBiasIndex, epilogue.residualIndex] == [2, 3, 4])
        #expect(node.output == result)
        #expect(node.label == "product w")
    }

    @Test func rowsBehindAnActivationStayANodeOfTheirOwn() throws {
        let source = graph.input("x", [2, 5, 8], .float32)
        let activated = graph.activation(try product(source), .silu, label: "silu")
        graph.output("y", try graph.add(activated, graph.input("rows", [2, 8], .float32), label: "rows"))
        #expect(try nodes().map(\.op.name) == ["matmul", "add"])
    }

    @Test func onlyOneOfTwoActivationsAndResidualsJoins() throws {
        let source = graph.input("x", [2, 8], .float32)
        let once = graph.activation(try product(source), .silu, label: "first")
        let twice = graph.activation(once, .gelu, label: "second")
        graph.output("y", twice)
        #expect(try nodes().map(\.op.name) == ["matmul", "gelu"])
        graph.output(
            "z", try graph.add(try graph.add(try product(source, "v"), source, label: "r"), source, label: "r"))
        #expect(try nodes().map(\.op.name) == ["matmul", "gelu", "matmul", "add"])
    }

    @Test func activationBehindTheResidualStaysANode() throws {
        let source = graph.input("x", [2, 8], .float32)
        graph.output(
            "y", graph.activation(try graph.add(try product(source), source, label: "r"), .silu, label: "silu"))
        #expect(try nodes().map(\.op.name) == ["matmul", "silu"])
    }

    @Test func siLUAloneJoinsAGroupNorm() throws {
        let vector = try graph.weight("n", [8])
        let source = graph.input("x", [1, 2, 2, 8], .float32)
        for (index, function) in [Activation.silu, .gelu].enumerated() {
            let norm = try graph.groupNorm(
                source, weight: vector, bias: vector, groups: 2, epsilon: 1e-5, label: "norm")
            graph.output("y\(index)", graph.activation(norm, function, label: "function"))
        }
        let nodes = try nodes()
        #expect(nodes.map(\.op.name) == ["group_norm", "group_norm", "gelu"])
        #expect(nodes.first?.op == .groupNorm(groups: 2, epsilon: 1e-5, activation: .silu))
    }

    /// A group norm and a product over `left` and `right` side by side; gives the concatenation.
    private func readers(_ left: Tensor, _ right: Tensor) throws -> Tensor {
        let joined = try graph.concat(left, right, axis: -1, label: "skip")
        let channels = joined.shape.channels
        let vector = try graph.weight("n", [channels])
        let norm = try graph.groupNorm(joined, weight: vector, bias: vector, groups: 2, epsilon: 1e-5, label: "norm")
        graph.output("norm", graph.activation(norm, .silu, label: "silu"))
        graph.output("product", try product(joined, bias: true))
        return joined
    }

    @Test func readersOfAConcatenationReadItsSources() throws {
        let (left, right) = (graph.input("x", [1, 2, 8], .float32), graph.input("y", [1, 2, 16], .float32))
        _ = try readers(left, right)
        let nodes = try nodes()
        #expect(nodes.map(\.op.name) == ["group_norm", "matmul"])
        for node in nodes {
            #expect(node.inputs.first == left && node.inputs.last == right && node.inputs.count == 4)
            #expect(node.joinedSource == right && node.sourceChannels == 24)
        }
    }

    @Test func aConcatenationStaysWhereAReaderWantsItWhole() throws {
        let (left, right) = (graph.input("x", [1, 2, 8], .float32), graph.input("y", [1, 2, 16], .float32))
        graph.output("relu", graph.activation(try readers(left, right), .relu, label: "relu"))
        #expect(try nodes().map(\.op.name) == ["concat", "group_norm", "matmul", "relu"])
        #expect(try nodes().allSatisfy { $0.joinedSource == nil })
    }

    @Test func aConcatenationThatTheHostReadsStays() throws {
        let (left, right) = (graph.input("x", [1, 2, 8], .float32), graph.input("y", [1, 2, 16], .float32))
        graph.output("joined", try readers(left, right))
        #expect(try nodes().map(\.op.name) == ["concat", "group_norm", "matmul"])
    }

    @Test func oddChannelsStayConcatenated() throws {
        _ = try readers(graph.input("x", [1, 2, 12], .float32), graph.input("y", [1, 2, 16], .float32))
        #expect(try nodes().map(\.op.name) == ["concat", "group_norm", "matmul"])
    }

    @Test func aProductWithAnActivationWantsItsSourceWhole() throws {
        let (left, right) = (graph.input("x", [1, 2, 8], .float32), graph.input("y", [1, 2, 16], .float32))
        let joined = try graph.concat(left, right, axis: -1, label: "joined")
        graph.output("y", graph.activation(try product(joined), .silu, label: "silu"))
        #expect(try nodes().map(\.op.name) == ["concat", "matmul"])
    }

    @Test func aStateThatChangesBeforeItIsReadStaysConcatenated() throws {
        let (left, right) = (graph.state("x", [1, 2, 8], .float32), graph.input("y", [1, 2, 16], .float32))
        let joined = try graph.concat(left, right, axis: -1, label: "joined")
        try graph.assign(graph.scaleShift(left, scale: 2, shift: 0, label: "twice"), to: left, label: "store")
        graph.output("y", try product(joined))
        #expect(try nodes().map(\.op.name) == ["concat", "scale_shift", "assign", "matmul"])
    }

    @Test func enlargementBecomesTheConvolutionsAddressing() throws {
        let source = graph.input("x", [1, 3, 4, 8], .float32)
        let large = try graph.upsampleNearest(source, height: 5, width: 7, label: "enlargement")
        graph.output(
            "y",
            try graph.convolution(
                large, weight: graph.weight("k", [8, 8, 3, 3]), bias: nil, padding: Padding(1), label: "convolution"))
        let nodes = try nodes()
        #expect(nodes.count == 1)
        guard case .convolution(let convolution, _)? = nodes.first?.op else {
            Issue.record("The convolution is gone.")
            return
        }
        #expect(convolution.enlarged == Convolution.Size(height: 5, width: 7))
        #expect(nodes.first?.inputs.first == source)
    }

    @Test(arguments: [false, true])
    func gateJoinsItsProduct(bias: Bool) throws {
        let source = graph.input("x", [2, 5, 8], .float32)
        let result = try graph.geglu(try product(source, bias: bias), label: "gate")
        graph.output("y", result)
        let nodes = try nodes()
        #expect(nodes.count == 1)
        let node = try #require(nodes.first)
        let epilogue = try #require(node.op.epilogue)
        #expect(epilogue.gated && epilogue.bias == bias && epilogue.columnsPerResult == 2)
        #expect(node.output == result && node.output.shape == [2, 5, 4])
        let vector = bias ? [try graph.weight("b", [8])] : []
        #expect(node.inputs == [source, try graph.weight("w", [8, 8])] + vector)
        #expect(node.label == "product w")
    }

    @Test func nothingElseJoinsAGatedProduct() throws {
        let source = graph.input("x", [2, 8], .float32)
        let gated = try graph.geglu(try product(source), label: "gate")
        graph.output("y", graph.activation(gated, .silu, label: "silu"))
        let other = try graph.geglu(try product(source, "v"), label: "gate")
        graph.output("z", try graph.add(other, graph.input("r", [2, 4], .float32), label: "sum"))
        #expect(try nodes().map(\.op.name) == ["matmul", "silu", "matmul", "add"])
    }

    @Test func gateBehindMoreThanABiasStaysANode() throws {
        let source = graph.input("x", [2, 8], .float32)
        graph.output("y", try graph.geglu(graph.activation(try product(source), .silu, label: "silu"), label: "gate"))
        graph.output("z", try graph.geglu(try graph.add(try product(source, "v"), source, label: "sum"), label: "gate"))
        #expect(try nodes().map(\.op.name) == ["matmul", "geglu", "matmul", "geglu"])
    }

    /// Its two halves are packed in a way of their own, which a computed value cannot be.
    @Test func gateOfAProductWithAComputedValueStaysANode() throws {
        let (left, right) = (graph.input("x", [2, 8], .float32), graph.input("w", [8, 8], .float32))
        graph.output("y", try graph.geglu(graph.linear(left, weight: right, bias: nil, label: "p"), label: "gate"))
        #expect(try nodes().map(\.op.name) == ["matmul", "geglu"])
    }

    @Test func gateInALanguageModelStaysANode() throws {
        _ = graph.cache("cache", [1, 4, 8])
        graph.output("y", try graph.geglu(try product(graph.input("x", [2, 8], .float32)), label: "gate"))
        #expect(try nodes().map(\.op.name) == ["matmul", "geglu"])
    }

    @Test func valueUsedTwiceIsNotAbsorbed() throws {
        let shared = try product(graph.input("x", [2, 8], .float32))
        graph.output("y", graph.activation(shared, .silu, label: "silu"))
        graph.output("z", graph.activation(shared, .gelu, label: "gelu"))
        #expect(try nodes().map(\.op.name) == ["matmul", "silu", "gelu"])
    }

    @Test func valueAddedToItselfIsNotAbsorbed() throws {
        let shared = try product(graph.input("x", [2, 8], .float32))
        graph.output("y", try graph.add(shared, shared, label: "sum"))
        #expect(try nodes().map(\.op.name) == ["matmul", "add"])
    }

    @Test func valueThatTheHostReadsIsNotAbsorbed() throws {
        let product = try product(graph.input("x", [2, 8], .float32))
        graph.output("product", product)
        graph.output("y", graph.activation(product, .silu, label: "silu"))
        #expect(try nodes().map(\.op.name) == ["matmul", "silu"])
    }

    @Test func viewedValueIsNotAbsorbed() throws {
        let product = try product(graph.input("x", [2, 8], .float32))
        graph.output("y", graph.activation(product, .silu, label: "silu"))
        graph.output("view", try graph.slice(product, 1..<2))
        #expect(try nodes().map(\.op.name) == ["matmul", "silu"])
    }

    @Test func valueReadThroughAViewAloneIsNotAbsorbed() throws {
        let product = try product(graph.input("x", [2, 8], .float32))
        graph.output("y", graph.activation(try graph.reshape(product, [16]), .silu, label: "silu"))
        #expect(try nodes().map(\.op.name) == ["matmul", "silu"])
    }

    @Test func useByADeadNodeDoesNotCount() throws {
        let product = try product(graph.input("x", [2, 8], .float32))
        _ = graph.activation(product, .gelu, label: "dead")
        graph.output("y", graph.activation(product, .silu, label: "silu"))
        #expect(try nodes().map(\.op.name) == ["matmul"])
    }

    @Test func deadNodesAndTheirWeightsAreDropped() throws {
        let source = graph.input("x", [2, 8], .float32)
        _ = try product(try product(source, "dead"), "deader")
        graph.output("y", try product(source, "alive"))
        let plan = try Planner.plan(graph)
        #expect(plan.promptNodes.map(\.label) == ["product alive"])
        #expect(plan.weights.map(\.name) == ["alive"])
    }

    @Test func nodesThatAnAssignmentNeedsAreKept() throws {
        let state = graph.state("s", [2, 8], .float32)
        try graph.assign(try graph.reshape(try product(state), [2, 8]), to: state, label: "store")
        #expect(try nodes().map(\.op.name) == ["matmul", "assign"])
    }

    @Test func productOfThePromptIsNotDrawnIntoTheSteps() throws {
        let kept = try product(graph.input("x", [2, 8], .float32))
        graph.output("y", try graph.add(kept, graph.input("step", [2, 8], .float32, stage: .step), label: "sum"))
        let plan = try Planner.plan(graph)
        #expect(plan.promptNodes.map(\.op.name) == ["matmul"])
        #expect(plan.stepNodes.map(\.op.name) == ["add"])
    }

    @Test func productOfAStateIsNotMovedBehindItsAssignment() throws {
        let state = graph.state("s", [2, 8], .float32)
        let product = try product(try graph.reshape(state, [1, 2, 8]))
        let other = graph.input("x", [2, 8], .float32)
        try graph.assign(other, to: state, label: "store")
        graph.output("y", graph.activation(product, .silu, label: "silu"))
        #expect(try nodes().map(\.op.name) == ["matmul", "assign", "silu"])
    }

    @Test func assignmentToAnotherStateDoesNotHinder() throws {
        let state = graph.state("s", [2, 8], .float32)
        let product = try product(state)
        try graph.assign(graph.input("x", [2, 8], .float32), to: graph.state("t", [2, 8], .float32), label: "store")
        graph.output("y", graph.activation(product, .silu, label: "silu"))
        #expect(try nodes().map(\.op.name) == ["assign", "matmul"])
    }
}
