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
    /// The most bytes of device memory that have been allocated at one time; host memory for the CPU.
    var peakMemory: Int { get }

    /// Bytes that a further executable could use, or nil where nobody knows.
    var availableMemory: Int? { get }

    /// Loads and packs the weights, places the memory, and records the plan.
    /// Throws `CalderaError` when memory or a kernel is lacking, or a weight cannot be read.
    func compile(_ plan: Plan, weights: any WeightSource) throws -> any Executable

    /// What would run a node: the kernel or primitive and its parameters, for `caldera explain`.
    func describe(_ node: Node, in plan: Plan) -> String
}

/// A plan that has been compiled: the host writes inputs, runs stages, reads outputs.
public protocol Executable: AnyObject {
    var memory: MemoryUse { get }

    /// Writes an input or a state, converting fp32 to its element type. Throws when the name or shape is not the plan's.
    func write(_ name: String, _ tensor: HostTensor) throws

    /// Runs every node of the prompt stage (which covers whatever depends on weights alone), or one replay of the step
    /// stage. Returns when the work is done.
    func run(_ stage: Stage) throws

    /// Reads an output or a state as fp32 or int32.
    func read(_ name: String) throws -> HostTensor
}
