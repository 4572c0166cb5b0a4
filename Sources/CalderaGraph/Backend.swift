/// Bytes that an executable holds, by purpose.
public struct MemoryUse: Sendable, Equatable {
    public var weights: Int
    public var arena: Int
    public var persistent: Int

    public init(weights: Int, arena: Int, persistent: Int) {
        self.weights = weights
        self.arena = arena
        self.persistent = persistent
    }

    public var total: Int { weights + arena + persistent }
}

/// Something that can run plans: a Vulkan device, or this machine's processor.
public protocol Backend: AnyObject {
    /// "cpu" or the device's name, for people.
    var name: String { get }
    /// What plans for this backend must respect.
    var limits: PlanLimits { get }
    /// The most bytes of device memory that have been allocated at one time since the start or the last
    /// `resetPeakMemory`; host memory for the CPU.
    var peakMemory: Int { get }

    /// Lets `peakMemory` start again from what is allocated now: for a job or a phase of its own.
    func resetPeakMemory()

    /// Bytes of device memory that this backend may have allocated at one time; nil for as many as there are.
    var memoryLimit: Int? { get set }

    /// Bytes that a further executable could use under `memoryLimit`, or nil where nobody knows.
    var availableMemory: Int? { get }

    /// Whether `memoryLimit` bounds the host's own memory, so that what a pipeline keeps there counts as well.
    var countsHostMemory: Bool { get }

    /// Counts host memory that work on this backend keeps beside its executables, where `countsHostMemory` says so: bytes
    /// that were taken, or, negative, that were given back.
    func countHostMemory(_ bytes: Int)

    /// What `compile` would allocate, without allocating or reading any of it. Where the weights do not all fit
    /// `budget` bytes (nil: no bound), as many as fit stay in memory and the rest stream. Where not even that fits, the
    /// forecast is of the least that works, and its total is above the budget. Throws when a node has no kernel.
    func forecast(_ plan: Plan, weights: any WeightSource, budget: Int?) throws -> MemoryForecast

    /// Places the memory, loads and packs the weights that stay in it, and records the plan, within `budget` bytes as
    /// `forecast` says; results are the same bits whatever the budget.
    /// Throws `CalderaError` when memory or a kernel is lacking, the budget is below the least that works, or a weight
    /// cannot be read. The source must live, and its tensors keep their bytes, as long as the executable.
    func compile(_ plan: Plan, weights: any WeightSource, budget: Int?) throws -> any Executable

    /// What would run a node: the kernel or primitive and its parameters, for `caldera explain`.
    func describe(_ node: Node, in plan: Plan) -> String
}

extension Backend {
    public var countsHostMemory: Bool { false }

    public func countHostMemory(_ bytes: Int) {}

    /// Compiles within the memory that is left.
    public func compile(_ plan: Plan, weights: any WeightSource) throws -> any Executable {
        try compile(plan, weights: weights, budget: availableMemory)
    }

    /// What is compiled within the memory that is left.
    public func forecast(_ plan: Plan, weights: any WeightSource) throws -> MemoryForecast {
        try forecast(plan, weights: weights, budget: availableMemory)
    }
}

/// A plan that has been compiled: the host writes inputs, runs stages, reads outputs.
public protocol Executable: AnyObject {
    var memory: MemoryUse { get }

    /// Writes an input or a state, converting fp32 to its element type. Throws when the name or shape is not the plan's.
    func write(_ name: String, _ tensor: HostTensor) throws

    /// Runs every node of the prompt stage (which covers whatever depends on weights alone), or one replay of the step
    /// stage. Returns when the work is done.
    func run(_ stage: Stage) throws

    /// Runs a stage as `run` does, and says when each of its nodes ran, by the device's clock where it has one: one
    /// entry for each node, in their order. Runs that are not profiled pay nothing for it.
    /// Throws `CalderaError` as `run` does, and where the device has no clock.
    func profile(_ stage: Stage) throws -> [NodeTiming]

    /// Reads an output or a state as fp32 or int32.
    func read(_ name: String) throws -> HostTensor

    /// Takes these weights from another source from now on: those in memory are packed again where they lie, the others
    /// at their next use. No other weight is read. Names that the plan does not use are left alone.
    ///
    /// What the prompt stage has computed from the old weights stays until it is run again: run it before the next step.
    /// Throws, with nothing changed, when the source lacks one of the weights or holds it in another shape.
    func replaceWeights(_ names: Set<String>, from source: any WeightSource) throws

    /// Whether every state (the latents) holds finite numbers alone: cheap enough to ask after each step.
    func statesAreFinite() throws -> Bool

    /// Runs one stage again, node by node, and says where the first value that is not a finite number comes from; nil
    /// where all are finite. The prompt stage runs from the present inputs, the step stage from the states that the last
    /// `run(.step)` started with, which it leaves as they are then.
    func firstNonFinite(_ stage: Stage) throws -> NonFiniteValue?
}
