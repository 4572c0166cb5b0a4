import CalderaGraph
import CalderaTestSupport
import Testing

/// Memory: what is predicted is what is taken, limits are kept, and neither changes a bit of the results.
@Suite(.serialized) struct MemoryTests {
    static let cases = ["sd15", "sdxl"].flatMap { model in MemoryDevice.allCases.map { (model, $0) } }

    private func each(_ model: String, _ device: MemoryDevice, _ body: (any Backend, PlannedPart) throws -> Void) throws
    {
        let golden = try GoldenModel(model)
        try device.withBackend { backend in
            for part in try PlannedPart.parts(of: golden, device.precision, backend.limits) { try body(backend, part) }
        }
    }

    /// The results under a budget, and the peak beyond what was allocated before.
    private func run(
        _ part: PlannedPart, _ backend: any Backend, budget: Int?
    ) throws -> (results: [String: [UInt32]], peak: Int) {
        backend.resetPeakMemory()
        let before = backend.peakMemory
        let results = try part.results(backend.compile(part.plan, weights: part.weights, budget: budget))
        return (results, backend.peakMemory - before)
    }

    @Test("Forecasts are within 10 % of the peak, streamed or not; streaming changes no bit", arguments: cases)
    func forecasts(model: String, device: MemoryDevice) throws {
        try each(model, device) { backend, part in
            let whole = try backend.forecast(part.plan, weights: part.weights, budget: nil)
            let least = try backend.forecast(part.plan, weights: part.weights, budget: 0)
            #expect(whole.streamedWeights == 0)
            #expect(least.streamedWeights > 0, "\(part.name): \(least)")
            #expect(least.total < whole.total, "\(part.name): \(least) and \(whole)")
            var reference: [String: [UInt32]]?
            for budget in [nil, (whole.total + least.total) / 2, least.total] {
                let forecast = try backend.forecast(part.plan, weights: part.weights, budget: budget)
                let (results, peak) = try run(part, backend, budget: budget)
                let error = abs(Double(forecast.total - peak)) / Double(peak)
                #expect(error <= 0.1, "\(part.name): \(forecast.total) predicted, \(peak) measured")
                if let budget { #expect(peak <= budget, "\(part.name): \(peak) taken of \(budget)") }
                reference = reference ?? results
                #expect(results == reference, "\(part.name) differs with a budget of \(budget ?? 0)")
            }
        }
    }

    @Test("A budget below the least says how much is needed", arguments: MemoryDevice.allCases)
    func tooLittle(device: MemoryDevice) throws {
        try each("sd15", device) { backend, part in
            let least = try backend.forecast(part.plan, weights: part.weights, budget: 0).total
            let error = #expect(throws: CalderaError.self) {
                _ = try backend.compile(part.plan, weights: part.weights, budget: least - 1)
            }
            #expect(error?.message.contains("needs \((least + (1 << 20) - 1) >> 20) MiB at least") == true)
        }
    }

    @Test("The limit bounds what is available, less what is taken", arguments: MemoryDevice.allCases)
    func limits(device: MemoryDevice) throws {
        try each("sd15", device) { backend, part in
            let whole = try backend.forecast(part.plan, weights: part.weights, budget: nil).total
            backend.memoryLimit = whole + 1000
            #expect(backend.availableMemory == whole + 1000)
            let executable = try backend.compile(part.plan, weights: part.weights)
            let left = try #require(backend.availableMemory)
            #expect(left <= whole + 1000 - executable.memory.total)
            #expect(try backend.forecast(part.plan, weights: part.weights).streamedWeights > 0)
            withExtendedLifetime(executable) {}
            backend.memoryLimit = nil
        }
    }

    @Test(
        "Replaced weights compute what a new executable computes, resident or streamed",
        arguments: MemoryDevice.allCases)
    func replacement(device: MemoryDevice) throws {
        try each("sdxl", device) { backend, part in
            let names = Set(
                part.plan.weights.map(\.name).sorted().enumerated().filter { $0.offset % 3 == 0 }.map(\.element))
            let changed = ScaledWeights(
                part.weights, factors: Dictionary(uniqueKeysWithValues: names.map { ($0, 1.25) }))
            let expected = try part.results(backend.compile(part.plan, weights: changed, budget: nil))
            let least = try backend.forecast(part.plan, weights: part.weights, budget: 0).total
            for budget in [nil, least] {
                let executable = try backend.compile(part.plan, weights: part.weights, budget: budget)
                let before = try part.results(executable)
                try executable.replaceWeights(names, from: changed)
                let after = try part.results(executable)
                #expect(after == expected && after != before)
                try executable.replaceWeights(names, from: part.weights)
                #expect(try part.results(executable) == before)
            }
        }
    }

    @Test("Weights are converted from every type, also where others take their place", arguments: MemoryDevice.allCases)
    func types(device: MemoryDevice) throws {
        try device.withBackend { backend in
            let graph = Graph(dtype: device.precision.dtype)
            var value = graph.input("source", [4, 64], graph.dtype)
            for name in ["a", "b", "c"] {
                value = try graph.linear(value, weight: graph.weight(name, [64, 64]), bias: nil, label: name)
            }
            graph.output("result", value)
            let plan = try Planner.plan(graph, limits: backend.limits)
            func part(_ dtype: DType, _ factor: Float) -> PlannedPart {
                let values = (0..<64 * 64).map { Float($0 * 7 % 11 - 5) / 16 * factor }
                let tensor = HostTensor([64, 64], values)
                return PlannedPart(
                    name: "\(dtype)", plan: plan,
                    weights: MemoryWeights(["a": tensor, "b": tensor, "c": tensor], dtype: dtype))
            }
            for (old, new) in [(DType.float32, DType.float16), (.float16, .bfloat16), (.bfloat16, .float32)] {
                let (first, second) = (part(old, 1), part(new, 0.5))
                let expected = try second.results(backend.compile(plan, weights: second.weights, budget: nil))
                let least = try backend.forecast(plan, weights: first.weights, budget: 0).total
                for budget in [nil, least] {
                    let executable = try backend.compile(plan, weights: first.weights, budget: budget)
                    #expect(try first.results(executable) != expected)
                    try executable.replaceWeights(["a", "b", "c"], from: second.weights)
                    #expect(try second.results(executable) == expected, "\(old) to \(new)")
                }
            }
        }
    }

    @Test("A source that lacks a weight changes nothing", arguments: MemoryDevice.allCases)
    func wrongReplacement(device: MemoryDevice) throws {
        try each("sd15", device) { backend, part in
            let names = part.plan.weights.map(\.name)
            let executable = try backend.compile(part.plan, weights: part.weights, budget: nil)
            let before = try part.results(executable)
            let wrong = MemoryWeights([names[0]: HostTensor([1], [7 as Float])])
            for set in [Set(names.prefix(1)), Set(names.suffix(1))] {
                #expect(throws: CalderaError.self) { try executable.replaceWeights(set, from: wrong) }
            }
            try executable.replaceWeights(["no weight of this plan"], from: wrong)
            #expect(try part.results(executable) == before)
        }
    }
}
