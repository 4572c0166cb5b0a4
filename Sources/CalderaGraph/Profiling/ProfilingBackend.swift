/// Another backend, with a profiler that is told when each node runs.
public final class ProfilingBackend: Backend {
    private let backend: any Backend
    private let profiler: Profiler

    public init(_ backend: any Backend, profiler: Profiler) {
        self.backend = backend
        self.profiler = profiler
    }

    public var name: String { backend.name }
    public var limits: PlanLimits { backend.limits }
    public var peakMemory: Int { backend.peakMemory }
    public var availableMemory: Int? { backend.availableMemory }
    public var memoryLimit: Int? {
        get { backend.memoryLimit }
        set { backend.memoryLimit = newValue }
    }

    public var countsHostMemory: Bool { backend.countsHostMemory }

    public func resetPeakMemory() { backend.resetPeakMemory() }

    public func countHostMemory(_ bytes: Int) { backend.countHostMemory(bytes) }

    public func forecast(_ plan: Plan, weights: any WeightSource, budget: Int?) throws -> MemoryForecast {
        try backend.forecast(plan, weights: weights, budget: budget)
    }

    public func compile(_ plan: Plan, weights: any WeightSource, budget: Int?) throws -> any Executable {
        let executable = try profiler.span("\(plan.title): compile") {
            try backend.compile(plan, weights: weights, budget: budget)
        }
        return ProfiledExecutable(executable, plan, self)
    }

    public func describe(_ node: Node, in plan: Plan) -> String { backend.describe(node, in: plan) }

    // MARK: Runs

    /// Runs a stage and notes what it did. Device clocks say nothing of the host's: the last node is taken to end when
    /// the run does.
    fileprivate func run(_ stage: Stage, number: Int, _ plan: Plan, on executable: any Executable) throws {
        let name = stage == .step ? "step \(number + 1)" : "prompt"
        let timings = try profiler.span("\(plan.title): \(name)") { try executable.profile(stage) }
        let end = timings.map { $0.start + $0.seconds }.max() ?? 0
        let origin = max(0, (profiler.spans.last.map { $0.start + $0.seconds } ?? 0) - end)
        let nodes = plan.nodes(stage)
        profiler.add(
            timings.map { timing in
                let node = nodes[timing.index]
                return Profiler.Layer(
                    part: plan.title, stage: stage, run: number, label: node.label, operation: node.op.name,
                    kernel: backend.describe(node, in: plan), start: origin + timing.start, seconds: timing.seconds)
            })
    }
}

/// Runs every stage with a profile.
private final class ProfiledExecutable: Executable {
    private let executable: any Executable
    private let plan: Plan
    private let backend: ProfilingBackend
    private var runs: [Stage: Int] = [:]

    init(_ executable: any Executable, _ plan: Plan, _ backend: ProfilingBackend) {
        self.executable = executable
        self.plan = plan
        self.backend = backend
    }

    var memory: MemoryUse { executable.memory }

    func write(_ name: String, _ tensor: HostTensor) throws { try executable.write(name, tensor) }

    func run(_ stage: Stage) throws {
        let number = runs[stage] ?? 0
        try backend.run(stage, number: number, plan, on: executable)
        runs[stage] = number + 1
    }

    func profile(_ stage: Stage) throws -> [NodeTiming] { try executable.profile(stage) }

    func read(_ name: String) throws -> HostTensor { try executable.read(name) }

    func replaceWeights(_ names: Set<String>, from source: any WeightSource) throws {
        try executable.replaceWeights(names, from: source)
    }

    func statesAreFinite() throws -> Bool { try executable.statesAreFinite() }

    func firstNonFinite(_ stage: Stage) throws -> NonFiniteValue? { try executable.firstNonFinite(stage) }
}

extension Plan {
    /// The part's name; "model" where nobody has given one.
    fileprivate var title: String { part.isEmpty ? "model" : part }
}
