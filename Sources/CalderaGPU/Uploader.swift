import CalderaGraph
import CalderaVulkan

/// Brings bytes into device memory: straight where the host sees it, else through two staging buffers in turn.
final class Uploader {
    static let largestPiece = 32 << 20
    static let stageCount = 2

    private struct Stage {
        let buffer: VulkanBuffer
        /// The copy under way from this buffer, kept until it is done.
        var copy: CommandBuffer?
        let timeline: Timeline
    }

    private let device: VulkanDevice
    private let isStaged: Bool
    private let pieceSize: Int
    private var stages: [Stage] = []
    private var next = 0

    /// - Parameters:
    ///   - isStaged: whether bytes go through staging buffers, as they must where the host does not see device memory.
    ///   - pieceSize: bytes of such a buffer.
    init(_ device: VulkanDevice, isStaged: Bool, pieceSize: Int) {
        self.device = device
        self.isStaged = isStaged
        self.pieceSize = pieceSize
    }

    // A copy must be done before its buffers go, also where an error has cut the uploads short.
    deinit {
        for stage in stages { try? stage.timeline.wait() }
    }

    /// Lets `fill` write `bytes` bytes that end up at `offset` of `target`.
    func upload(
        bytes: Int, to target: VulkanBuffer, at offset: Int, _ fill: (UnsafeMutableRawPointer) -> Void
    ) throws {
        if !isStaged, let mapped = target.mapped { return fill(mapped + offset) }
        let index = try freeStage(atLeast: bytes)
        let buffer = stages[index].buffer
        guard let mapped = buffer.mapped else {
            throw CalderaError("\(device.info.name) has no memory through which the host could send weights.")
        }
        fill(mapped)
        let copy = try CommandBuffer(device) { $0.copy(from: buffer, at: 0, to: target, at: offset, size: bytes) }
        try stages[index].timeline.submit(copy)
        stages[index].copy = copy
    }

    func finish() throws {
        for stage in stages { try stage.timeline.wait() }
        stages.removeAll()
    }

    private func freeStage(atLeast bytes: Int) throws -> Int {
        if stages.count < Uploader.stageCount {
            let buffer = try VulkanBuffer(device, size: max(bytes, pieceSize), kind: .upload)
            stages.append(Stage(buffer: buffer, copy: nil, timeline: try Timeline(device)))
            return stages.count - 1
        }
        next = 1 - next
        try stages[next].timeline.wait()
        stages[next].copy = nil
        if stages[next].buffer.size < bytes {
            let buffer = try VulkanBuffer(device, size: bytes, kind: .upload)
            stages[next] = Stage(buffer: buffer, copy: nil, timeline: try Timeline(device))
        }
        return next
    }
}
