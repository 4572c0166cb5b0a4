import CalderaGraph
import CalderaTestSupport
import Testing

/// The table and its runner, before any real backend is asked.
@Suite struct OperatorTableTests {
    @Test func namesAreUnique() {
        let names = operatorCases.map(\.name)
        let repeated = Dictionary(grouping: names) { $0 }.filter { $0.value.count > 1 }.keys.sorted()
        #expect(repeated.isEmpty)
    }

    @Test func everyOperatorHasACase() throws {
        var named: Set<String> = []
        for operatorCase in operatorCases {
            let plan = try Planner.plan(try operatorCase.built(dtype: .float32).graph)
            named.formUnion((plan.promptNodes + plan.stepNodes).map(\.op.name))
        }
        let all: Set<String> = [
            "matmul", "convolution", "group_norm", "layer_norm", "attention", "embedding", "sinusoid", "silu", "gelu",
            "quick_gelu", "relu", "tanh", "scale_shift", "add", "outer_sum", "geglu", "concat", "upsample_nearest",
            "select", "gather_token", "rms_norm", "swiglu", "rotary", "write_cache", "cached_attention",
            "weighted_sum", "blend", "rescale", "cast", "increment", "assign",
        ]
        let spelled = named.map { $0 == Activation.quickGELU.rawValue ? "quick_gelu" : $0 }
        #expect(Set(spelled) == all)
    }

    /// A backend that stores each result rounded must stay within the bounds of its element type: they are wide enough
    /// for honest rounding, case by case.
    @Test(arguments: [DType.float32, .float16, .bfloat16])
    func roundingAloneStaysWithinTheBounds(dtype: DType) throws {
        for operatorCase in operatorCases {
            let report = try check(operatorCase, on: NaiveBackend(roundsToDType: true), dtype: dtype)
            #expect(report.passed, "\(report)")
        }
    }

    @Test func guardsLieOnBothSidesOfEachOutput() throws {
        for operatorCase in operatorCases where operatorCase.name.hasPrefix("matmul") {
            let built = try operatorCase.built(dtype: .float16)
            let plan = try Planner.plan(built.graph, limits: PlanLimits(alignment: 16))
            let places = try ["result.before", "result", "result.behind"].map { name in
                let tensor = try plan.source(name).tensor
                let location = try #require(plan.location(of: tensor))
                #expect(location.region == .persistent)
                return (start: location.offset, end: location.offset + tensor.shape.count * tensor.dtype.size)
            }
            #expect(places[1].start == places[0].end)
            #expect((0..<16).contains(places[2].start - places[1].end))
        }
    }

    @Test func aWrongElementAStrayWriteAndANaNAreFaults() throws {
        let operatorCase = try #require(operatorCases.first { $0.name == "add [3, 5, 7] and [3, 5, 7]" })
        let fault: [(Corruption, String)] = [
            (.element, "is off by"), (.notANumber, "holds nan"), (.stray, "result.behind was overwritten"),
            (.unsteady, "other bits"),
        ]
        for (corruption, sentence) in fault {
            let report = try check(operatorCase, on: CorruptBackend(corruption), dtype: .float32)
            #expect(report.description.contains(sentence), "\(corruption): \(report)")
        }
    }
}

private enum Corruption { case element, notANumber, stray, unsteady }

/// The naive backend with one fault in what the host reads.
private final class CorruptBackend: Backend {
    let name = "corrupt"
    let limits = PlanLimits(alignment: 16)
    let peakMemory = 0
    let availableMemory: Int? = nil
    var memoryLimit: Int?
    private let corruption: Corruption

    init(_ corruption: Corruption) { self.corruption = corruption }

    func resetPeakMemory() {}

    func forecast(_ plan: Plan, weights: any WeightSource, budget: Int?) -> MemoryForecast {
        NaiveBackend().forecast(plan, weights: weights, budget: budget)
    }

    func compile(_ plan: Plan, weights: any WeightSource, budget: Int?) throws -> any Executable {
        CorruptExecutable(try NaiveBackend().compile(plan, weights: weights, budget: budget), corruption)
    }

    func describe(_ node: Node, in plan: Plan) -> String { node.op.name }
}

private final class CorruptExecutable: Executable {
    private let base: any Executable
    private let corruption: Corruption
    private var reads = 0

    init(_ base: any Executable, _ corruption: Corruption) {
        self.base = base
        self.corruption = corruption
    }

    var memory: MemoryUse { base.memory }
    func write(_ name: String, _ tensor: HostTensor) throws { try base.write(name, tensor) }
    func run(_ stage: Stage) throws { try base.run(stage) }
    func profile(_ stage: Stage) throws -> [NodeTiming] { try base.profile(stage) }
    func statesAreFinite() throws -> Bool { try base.statesAreFinite() }
    func firstNonFinite(_ stage: Stage) throws -> NonFiniteValue? { try base.firstNonFinite(stage) }

    func replaceWeights(_ names: Set<String>, from source: any WeightSource) throws {
        try base.replaceWeights(names, from: source)
    }

    func read(_ name: String) throws -> HostTensor {
        let tensor = try base.read(name)
        if name == "result.behind", corruption == .stray {
            return HostTensor(tensor.shape, tensor.floats.map { Int32($0 / 2) })
        }
        guard name == "result" else { return tensor }
        reads += 1
        var values = tensor.floats
        switch corruption {
        case .element: values[values.count - 1] += 0.01
        case .notANumber: values[0] = .nan
        case .unsteady: values[0] += reads > 1 ? values[0].ulp : 0
        case .stray: break
        }
        return HostTensor(tensor.shape, values)
    }
}
