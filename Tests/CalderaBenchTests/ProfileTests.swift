import CalderaBench
import CalderaCPU
import CalderaGPU
import CalderaGraph
import CalderaTestSupport
import CalderaVulkan
import Foundation
import Testing

@Suite("Profiles")
struct ProfileTests {
    enum Device: String, CaseIterable, Sendable {
        case cpu
        case vulkan
        /// With so little memory that weights stream: a stage of several submissions.
        case vulkanStreaming

        /// Runs `body` on the device; on Vulkan under the validation layer, which must have nothing to say.
        func withBackend(_ body: (any Backend) throws -> Void) throws {
            if self == .cpu { return try body(CPUBackend()) }
            let instance = try VulkanInstance(validation: true)
            try { () throws in
                let physical = try #require(try instance.physicalDevices().first { $0.info.unusableReason == nil })
                try body(VulkanBackend(device: VulkanDevice(physical)))
            }()
            #expect(instance.messages.isEmpty, "the validation layer says: \(instance.messages.prefix(3))")
        }
    }

    private static let width = 96
    private static let layers = 6

    /// A prompt stage of two nodes, and steps of several products of a state.
    private func plan(_ limits: PlanLimits) throws -> Plan {
        let graph = Graph(dtype: .float32)
        let width = Self.width
        let state = graph.state("latents", [4, width], .float32)
        let prompt = graph.input("prompt", [4, width], .float32)
        let context = try graph.linear(prompt, weight: graph.weight("p", [width, width]), bias: nil, label: "prompt.0")
        var hidden = try graph.add(state, graph.activation(context, .tanh, label: "prompt.1"), label: "join")
        for index in 0..<Self.layers {
            hidden = try graph.linear(
                hidden, weight: graph.weight("w\(index)", [width, width]), bias: nil, label: "layer.\(index)")
        }
        try graph.assign(hidden, to: state, label: "keep")
        return try Planner.plan(graph, limits: limits)
    }

    private func weights(_ plan: Plan) -> RandomWeights {
        RandomWeights(plan.weights.map { ($0.name, $0.tensor.shape) })
    }

    private func compile(_ plan: Plan, on backend: any Backend, _ device: Device) throws -> any Executable {
        guard device == .vulkanStreaming else { return try backend.compile(plan, weights: weights(plan)) }
        let whole = try backend.forecast(plan, weights: weights(plan), budget: nil)
        let budget = whole.total - 3 * Self.width * Self.width * 4
        #expect(try backend.forecast(plan, weights: weights(plan), budget: budget).streamedWeights > 0)
        return try backend.compile(plan, weights: weights(plan), budget: budget)
    }

    @Test("A profile has every node once, in order, and computes what a run does", arguments: Device.allCases)
    func timings(device: Device) throws {
        try device.withBackend { backend in
            let plan = try plan(backend.limits)
            let executable = try compile(plan, on: backend, device)
            let start = RandomNumbers.unit([4, Self.width])
            func result(_ run: (Stage) throws -> Void) throws -> HostTensor {
                try executable.write("prompt", RandomNumbers.unit([4, Self.width], seed: 1 << 40))
                try executable.write("latents", start)
                try run(.prompt)
                for _ in 0..<2 { try run(.step) }
                return try executable.read("latents")
            }
            let plain = try result { try executable.run($0) }
            let profiled = try result { stage in
                let timings = try executable.profile(stage)
                #expect(timings.map(\.index) == Array(plan.nodes(stage).indices))
                #expect(timings.allSatisfy { $0.seconds >= 0 && $0.start >= 0 })
                #expect(zip(timings, timings.dropFirst()).allSatisfy { $0.start + $0.seconds <= $1.start + 1e-9 })
                #expect(timings.contains { $0.seconds > 0 })
            }
            #expect(plain == profiled)
            #expect(plain.floats.contains { $0 != 0 })
        }
    }

    @Test("A trace has every node once a step, inside of its step", arguments: Device.allCases)
    func trace(device: Device) throws {
        try device.withBackend { backend in
            let profiler = Profiler()
            let profiling = ProfilingBackend(backend, profiler: profiler)
            let plan = try plan(profiling.limits)
            let executable = try compile(plan, on: profiling, device)
            try executable.write("prompt", RandomNumbers.unit([4, Self.width]))
            try executable.write("latents", RandomNumbers.unit([4, Self.width]))
            try executable.run(.prompt)
            for _ in 0..<3 { try executable.run(.step) }

            let trace = try #require(
                JSONSerialization.jsonObject(with: ChromeTrace(profiler, device: backend.name).encoded())
                    as? [String: Any])
            let events = try #require(trace["traceEvents"] as? [[String: Any]])
            let layers = events.filter { $0["tid"] as? Int == 2 && $0["ph"] as? String == "X" }
            for node in plan.stepNodes {
                #expect(layers.count { $0["name"] as? String == node.label } == 3, "\(node.label)")
            }
            for node in plan.promptNodes {
                #expect(layers.count { $0["name"] as? String == node.label } == 1, "\(node.label)")
            }
            #expect(layers.count == 3 * plan.stepNodes.count + plan.promptNodes.count)
            let stages = events.filter { $0["cat"] as? String == "stage" }
            let names = stages.compactMap { $0["name"] as? String }
            #expect(
                names == ["model: compile", "model: prompt", "model: step 1", "model: step 2", "model: step 3"])
            try checkNesting(layers, in: stages)
            let kernel = (layers.first?["args"] as? [String: String])?["kernel"]
            #expect(kernel?.isEmpty == false)
        }
    }

    /// Device and host clocks may differ by some parts in a million.
    private func checkNesting(_ layers: [[String: Any]], in stages: [[String: Any]]) throws {
        func range(_ event: [String: Any]) throws -> ClosedRange<Double> {
            let start = try #require(event["ts"] as? Double)
            return start...(start + (try #require(event["dur"] as? Double)))
        }
        let spans = try stages.map(range)
        for layer in layers {
            let range = try range(layer)
            #expect(spans.contains { $0.lowerBound - 50 <= range.lowerBound && range.upperBound <= $0.upperBound + 1 })
        }
    }

    @Test("The slowest layers come first, with all their runs together")
    func summary() throws {
        let profiler = Profiler()
        let backend = ProfilingBackend(try CPUBackend(), profiler: profiler)
        let plan = try plan(backend.limits)
        let executable = try backend.compile(plan, weights: weights(plan))
        try executable.write("latents", RandomNumbers.unit([4, Self.width]))
        for _ in 0..<4 { try executable.run(.step) }
        let all = LayerSummary.slowest(100, of: profiler.layers)
        #expect(all.count == plan.stepNodes.count)
        #expect(all.allSatisfy { $0.runs == 4 && $0.part == "model" })
        #expect(zip(all, all.dropFirst()).allSatisfy { $0.seconds >= $1.seconds })
        #expect(abs(all.reduce(0) { $0 + $1.share } - 1) < 1e-9)
        #expect(LayerSummary.slowest(2, of: profiler.layers) == Array(all.prefix(2)))
    }
}
