import CalderaGraph
import CalderaTestSupport
import Testing

/// The search for the first value that is not finite.
@Suite(.serialized) struct NonFiniteTests {
    private static let size = 64

    /// Prompt: context -> "prompt". Steps: latents -> "first" -> "second" -> latents.
    private func plan(_ backend: any Backend, _ dtype: DType) throws -> Plan {
        let graph = Graph(dtype: dtype)
        let shape: Shape = [2, NonFiniteTests.size]
        func linear(_ source: Tensor, _ name: String) throws -> Tensor {
            let weight = try graph.weight("\(name).weight", [NonFiniteTests.size, NonFiniteTests.size])
            return try graph.linear(source, weight: weight, bias: nil, label: name)
        }
        let prompt = try linear(graph.input("context", shape, dtype), "prompt")
        let latents = graph.state("latents", shape, dtype)
        let first = try graph.add(linear(latents, "first"), prompt, label: "sum")
        let second = try linear(graph.activation(first, .silu, label: "silu"), "second")
        try graph.assign(second, to: latents, label: "latents")
        return try Planner.plan(graph, limits: backend.limits)
    }

    private func weights(_ scales: [String: Float] = [:]) -> MemoryWeights {
        let count = NonFiniteTests.size * NonFiniteTests.size
        return MemoryWeights(
            ["prompt", "first", "second"].reduce(into: [:]) { tensors, name in
                let values = [Float](repeating: scales[name] ?? 0.01, count: count)
                tensors["\(name).weight"] = HostTensor([NonFiniteTests.size, NonFiniteTests.size], values)
            })
    }

    private func found(
        _ device: MemoryDevice, _ stage: Stage = .step, weights: MemoryWeights, context: Float = 1, latents: Float = 1,
        streamed: Bool = false
    ) throws -> NonFiniteValue? {
        var found: NonFiniteValue?
        try device.withBackend { backend in
            let plan = try plan(backend, device.precision.dtype)
            let least = try backend.forecast(plan, weights: weights, budget: 0).total
            let executable = try backend.compile(plan, weights: weights, budget: streamed ? least : nil)
            func fill(_ name: String, _ value: Float) throws {
                let count = 2 * NonFiniteTests.size
                try executable.write(
                    name, HostTensor([2, NonFiniteTests.size], [Float](repeating: value, count: count)))
            }
            try fill("context", context)
            try fill("latents", latents)
            try executable.run(.prompt)
            // Before the first step the search begins with the states as they were written.
            let early = try executable.firstNonFinite(stage)
            #expect(try executable.read("latents").floats[0] == latents || latents.isNaN)
            try executable.run(.step)
            found = try executable.firstNonFinite(stage)
            #expect(early == found)
            #expect(try executable.read("latents").floats[0] == latents || latents.isNaN, "the state is restored")
            #expect(try executable.statesAreFinite() == latents.isFinite)
            try executable.run(.step)
            #expect(try executable.statesAreFinite() == (found == nil))
            // The same again, from the state that the second run began with.
            #expect(try executable.firstNonFinite(stage) == found)
        }
        return found
    }

    @Test(arguments: MemoryDevice.allCases, [false, true])
    func finiteValuesAreNoFinding(device: MemoryDevice, streamed: Bool) throws {
        #expect(try found(device, weights: weights(), streamed: streamed) == nil)
    }

    @Test(arguments: MemoryDevice.allCases, [false, true])
    func theLayerThatOverflowsIsNamed(device: MemoryDevice, streamed: Bool) throws {
        // Beyond fp32 on the processor, beyond fp16 on Vulkan.
        let large: Float = device == .cpu ? 1e30 : 3e4
        let value = try found(device, weights: weights(["first": large, "second": large]), streamed: streamed)
        let overflows = device == .cpu ? "second" : "first"
        #expect(value == NonFiniteValue(label: overflows, cause: .computation))
        #expect(value?.description == "The layer \(overflows) gives values that are not finite numbers")
    }

    @Test(arguments: MemoryDevice.allCases)
    func aWeightThatIsNoNumberIsNamed(device: MemoryDevice) throws {
        let value = try found(device, weights: weights(["second": .nan]))
        #expect(value == NonFiniteValue(label: "second", cause: .weight("second.weight")))
    }

    @Test(arguments: MemoryDevice.allCases)
    func anInputThatIsNoNumberIsNamed(device: MemoryDevice) throws {
        #expect(
            try found(device, weights: weights(), latents: .nan)
                == NonFiniteValue(label: "first", cause: .input("latents")))
        #expect(
            try found(device, weights: weights(), context: .infinity)
                == NonFiniteValue(label: "prompt", cause: .input("context")))
    }

    @Test(arguments: MemoryDevice.allCases)
    func whatThePromptStageLeftIsFoundThere(device: MemoryDevice) throws {
        let large: Float = device == .cpu ? 3e38 : 6e4
        let value = try found(device, weights: weights(["prompt": large]))
        #expect(value == NonFiniteValue(label: "prompt", cause: .computation))
    }
}
