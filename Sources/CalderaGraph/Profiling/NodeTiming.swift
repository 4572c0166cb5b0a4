/// When one node of a stage ran.
public struct NodeTiming: Sendable, Hashable {
    /// The node's place in the plan's list for the stage.
    public let index: Int
    /// Seconds from the start of the stage's run.
    public let start: Double
    /// How long it ran; 0 for a node that nothing has to be done for.
    public let seconds: Double

    public init(index: Int, start: Double, seconds: Double) {
        self.index = index
        self.start = start
        self.seconds = seconds
    }
}
