import CalderaGraph
import CalderaVulkan

/// A stage whose recording reads the device's clock on its way.
struct TimedRecording {
    let recording: Recording
    let clock: NodeClock
}

/// The device's clock at the start of each segment of a stage and behind each of its nodes.
///
/// A node's time is what passes from the end of the one before it to its own end. A barrier stands behind each node, so
/// that no two overlap: the sum may be a little more than the stage takes when it is only run.
struct NodeClock {
    let timestamps: Timestamps
    let segments: [StreamSegment]

    /// Notes the time before a segment's first node.
    func begin(_ segment: Int, _ recorder: CommandRecorder) {
        if segment == 0 { recorder.reset(timestamps) }
        recorder.write(timestamps, at: segments[segment].nodes.lowerBound + segment)
    }

    /// Notes the time behind a node, given by its place in the stage.
    func end(node: Int, in segment: Int, _ recorder: CommandRecorder) {
        recorder.barrier()
        recorder.write(timestamps, at: node + segment + 1)
    }

    /// What the last run noted. Throws `CalderaError` when there was none.
    func timings() throws -> [NodeTiming] {
        let marks = try timestamps.nanoseconds().map { $0 / 1e9 }
        return segments.enumerated().flatMap { index, segment in
            segment.nodes.map { node in
                let start = marks[node + index]
                return NodeTiming(index: node, start: start, seconds: marks[node + index + 1] - start)
            }
        }
    }
}
