/// What ran when: every node of every stage that a profiled backend has run, and what the host did around them.
///
/// To be used from one thread at a time.
public final class Profiler {
    /// One run of one node.
    public struct Layer: Sendable, Hashable {
        /// The part of the model: "unet", "vae"; see `Plan.part`.
        public let part: String
        public let stage: Stage
        /// How many runs of this stage of this plan came before.
        public let run: Int
        /// The layer's name in the model's files.
        public let label: String
        public let operation: String
        /// What ran it, as `caldera explain` says.
        public let kernel: String
        /// Seconds since the profiler was made.
        public let start: Double
        public let seconds: Double
    }

    /// A piece of the host's time.
    public struct Span: Sendable, Hashable {
        public let name: String
        /// Seconds since the profiler was made.
        public let start: Double
        public let seconds: Double
    }

    public private(set) var layers: [Layer] = []
    /// The compilations and the runs of stages, in their order.
    public private(set) var spans: [Span] = []
    private let origin = ContinuousClock.now

    public init() {}

    /// Seconds since the profiler was made.
    var now: Double { (ContinuousClock.now - origin) / .seconds(1) }

    func span<Result>(_ name: String, _ work: () throws -> Result) rethrows -> Result {
        let start = now
        let result = try work()
        spans.append(Span(name: name, start: start, seconds: now - start))
        return result
    }

    func add(_ layers: [Layer]) { self.layers += layers }
}
