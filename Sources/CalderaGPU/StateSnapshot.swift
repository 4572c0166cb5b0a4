import CalderaGraph
import CalderaVulkan

/// The states as they were before the last step, from where the step can be run again; and a look at what they are now.
final class StateSnapshot {
    private struct Entry {
        let port: Plan.Port
        let buffer: VulkanBuffer
        /// Of the state, in its buffer.
        let offset: Int
        /// Of its copy.
        let savedOffset: Int
        let size: Int
    }

    private let entries: [Entry]
    private let saved: VulkanBuffer?
    /// Where the host sees copies of the states; nil where it sees the states.
    private let seen: VulkanBuffer?
    private let look: CommandBuffer?
    private var isTaken = false
    private let device: VulkanDevice

    /// Bytes of all states, and so of a copy.
    static func size(_ plan: Plan) -> Int {
        plan.states.reduce(0) { $0 + $1.tensor.shape.count * $1.tensor.dtype.size }
    }

    init(_ device: VulkanDevice, _ plan: Plan, _ memory: ExecutableMemory, isStaged: Bool) throws {
        self.device = device
        var offset = 0
        let entries = try plan.states.map { port in
            let place = try memory.place(port.tensor)
            let size = port.tensor.shape.count * port.tensor.dtype.size
            defer { offset += size }
            return Entry(port: port, buffer: place.buffer, offset: place.offset, savedOffset: offset, size: size)
        }
        self.entries = entries
        saved = offset > 0 ? try VulkanBuffer(device, size: offset, kind: .device) : nil
        guard isStaged, offset > 0 else {
            (seen, look) = (nil, nil)
            return
        }
        let seen = try VulkanBuffer(device, size: offset, kind: .readback)
        self.seen = seen
        look = try CommandBuffer(device) { recorder in
            recorder.barrier()
            for entry in entries {
                recorder.copy(
                    from: entry.buffer, at: entry.offset, to: seen, at: entry.savedOffset, size: entry.size)
            }
            recorder.hostBarrier()
        }
    }

    /// Records the copy of the states, which the commands that follow may change.
    func recordSave(_ recorder: CommandRecorder) {
        guard let saved else { return }
        for entry in entries {
            recorder.copy(from: entry.buffer, at: entry.offset, to: saved, at: entry.savedOffset, size: entry.size)
        }
        recorder.barrier()
    }

    /// Says that commands with the save have been submitted.
    func didSave() { isTaken = true }

    /// Makes the states what they were before the last step; before the first step they are what they are.
    func restore(_ timeline: Timeline) throws {
        guard let saved else { return }
        let isTaken = isTaken
        self.isTaken = true
        try timeline.run(
            CommandBuffer(device) { recorder in
                recorder.barrier()
                if !isTaken { return recordSave(recorder) }
                for entry in entries {
                    recorder.copy(
                        from: saved, at: entry.savedOffset, to: entry.buffer, at: entry.offset, size: entry.size)
                }
                recorder.hostBarrier()
            })
    }

    /// Whether all states are finite numbers; one small copy where the host does not see them.
    func areFinite(_ timeline: Timeline) throws -> Bool {
        if let look { try timeline.run(look) }
        return entries.allSatisfy { entry in
            let mapped = seen?.mapped.map { $0 + entry.savedOffset } ?? entry.buffer.mapped.map { $0 + entry.offset }
            guard let mapped else { return true }
            return FiniteCheck.holds(mapped, entry.port.tensor.dtype, count: entry.port.tensor.shape.count)
        }
    }
}
