import CalderaGraph
import CalderaTestSupport
import Testing

/// Stages, placement and checks of whole plans.
@Suite struct PlanTests {
    @Test func nodesAreSortedByWhatTheyDependOn() throws {
        let graph = Graph(dtype: .float32)
        let prompt = graph.input("prompt", [2, 8], .float32)
        let state = graph.state("state", [2, 8], .float32)
        let step = graph.activation(state, .silu, label: "step")
        let once = graph.activation(prompt, .gelu, label: "once")
        let late = graph.activation(once, .relu, label: "late")
        graph.output("y", try graph.add(step, late, label: "sum"))
        let plan = try Planner.plan(graph)
        #expect(plan.nodes(.prompt).map(\.label) == ["once", "late"])
        #expect(plan.nodes(.step).map(\.label) == ["step", "sum"])
        // What a step reads of the prompt stage lasts; what only the prompt stage needs does not.
        #expect(plan.location(of: late)?.region == .persistent)
        #expect(plan.location(of: once)?.region == .arena)
        #expect(plan.location(of: step)?.region == .arena)
    }

    @Test func nodesOfWeightsAloneRunWithThePrompt() throws {
        let graph = Graph(dtype: .float32)
        graph.output("y", graph.activation(try graph.weight("w", [4]), .silu, label: "constant"))
        #expect(try Planner.plan(graph).promptNodes.map(\.label) == ["constant"])
    }

    @Test func viewsLieInsideWhatTheyLookAt() throws {
        let graph = Graph(dtype: .float16)
        let source = graph.input("x", [3, 5, 7], .float16)
        let view = try graph.reshape(try graph.slice(source, 1..<3), [10, 7])
        let last = try graph.slice(view, 9..<10)
        graph.output("y", graph.activation(last, .silu, label: "silu"))
        let plan = try Planner.plan(graph)
        let base = try #require(plan.location(of: source))
        let place = try #require(plan.location(of: last))
        #expect(place.region == base.region)
        #expect(place.offset == base.offset + (35 + 63) * 2)
    }

    @Test func weightsHaveANameAndNoPlace() throws {
        let graph = Graph(dtype: .float16)
        let weight = try graph.weight("w", [4, 8])
        graph.output("y", try graph.linear(graph.input("x", [1, 8], .float16), weight: weight, bias: nil, label: "l"))
        let plan = try Planner.plan(graph)
        #expect(plan.location(of: weight) == nil)
        #expect(plan.weightName(weight) == "w")
        #expect(plan.weightSize == 64)
    }

    /// Over the whole table: values that are needed at one time share no byte, and each lies in its region.
    @Test(arguments: [PlanLimits(alignment: 16), PlanLimits(), PlanLimits(alignment: 64, blockSize: 1 << 20)])
    func valuesThatAreNeededTogetherDoNotOverlap(limits: PlanLimits) throws {
        for operatorCase in operatorCases {
            let plan = try Planner.plan(try operatorCase.built(dtype: .float16).graph, limits: limits)
            let pieces = try lives(plan)
            for (index, piece) in pieces.enumerated() {
                let end = piece.place.offset + piece.size
                #expect(piece.place.offset % limits.alignment == 0)
                #expect(end <= (piece.place.region == .arena ? plan.arenaSize : plan.persistentSize))
                #expect(piece.place.offset / limits.blockSize == (end - 1) / limits.blockSize)
                for other in pieces[..<index] where other.place.region == piece.place.region {
                    let together =
                        piece.place.region == .persistent || (piece.first <= other.last && other.first <= piece.last)
                    let apart = end <= other.place.offset || other.place.offset + other.size <= piece.place.offset
                    #expect(!together || apart, "\(operatorCase): \(piece) and \(other)")
                }
            }
        }
    }

    private struct Life {
        let place: Location
        let size: Int
        var first: Int
        var last: Int
    }

    /// Where each value of a plan lies, and from which node to which it is needed.
    private func lives(_ plan: Plan) throws -> [Life] {
        var lives: [Int: Life] = [:]
        let ports = plan.inputs + plan.states + plan.outputs
        for (position, tensors)
            in ([ports.map(\.tensor)] + (plan.promptNodes + plan.stepNodes).map { $0.inputs + [$0.output] })
            .enumerated()
        {
            for tensor in tensors {
                var owner = tensor.id
                while case .view(let base, _) = plan.values[owner].origin { owner = base }
                let value = plan.values[owner].tensor
                if plan.weightName(value) != nil { continue }
                let place = try #require(plan.location(of: value))
                let size = value.shape.count * value.dtype.size
                lives[owner, default: Life(place: place, size: size, first: position, last: position)].last = position
            }
        }
        return Array(lives.values)
    }

    @Test func checkListsEveryWeightThatIsMissingOrMisshapen() throws {
        let graph = Graph(dtype: .float32)
        let source = graph.input("x", [2, 8], .float32)
        var value = source
        for name in ["first", "second", "third", "fourth"] {
            value = try graph.linear(value, weight: graph.weight(name, [8, 8]), bias: nil, label: name)
        }
        graph.output("y", value)
        let plan = try Planner.plan(graph)
        let square = HostTensor([8, 8], [Float](repeating: 0, count: 64))
        let long = HostTensor([8, 9], [Float](repeating: 0, count: 72))
        let error = #expect(throws: CalderaError.self) {
            try plan.check(MemoryWeights(["first": square, "third": long]), part: "the unet")
        }
        let message = try #require(error).message
        for part in ["the unet", "3 tensors", "second [8, 8] is missing", "fourth [8, 8] is missing"] {
            #expect(message.contains(part), "\(message)")
        }
        #expect(message.contains("third is [8, 9] where [8, 8] is needed"))
        #expect(!message.contains("first"))
    }

    @Test func checkTakesAOneByOneKernelForAMatrix() throws {
        let graph = Graph(dtype: .float32)
        let weight = try graph.weight("w", [4, 8])
        graph.output("y", try graph.linear(graph.input("x", [1, 8], .float32), weight: weight, bias: nil, label: "l"))
        let kernel = HostTensor([4, 8, 1, 1], [Float](repeating: 0, count: 32))
        #expect(throws: Never.self) { try Planner.plan(graph).check(MemoryWeights(["w": kernel]), part: "the unet") }
    }

    @Test func unknownPortsAreNamedTogetherWithThoseThatExist() throws {
        let graph = Graph(dtype: .float32)
        graph.output("picture", graph.activation(graph.input("prompt", [2], .float32), .silu, label: "silu"))
        let plan = try Planner.plan(graph)
        let input = #expect(throws: CalderaError.self) { try plan.port("latents") }
        #expect(input?.message.contains("prompt") == true)
        let output = #expect(throws: CalderaError.self) { try plan.source("latents") }
        #expect(output?.message.contains("picture") == true)
    }
}
