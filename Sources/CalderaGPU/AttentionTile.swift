import CalderaVulkan

/// How the attention kernel (Shaders/attention/attention.comp) divides its work.
package struct AttentionTile: Sendable, Hashable, CustomStringConvertible {
    let threads: Int
    /// Queries of a workgroup.
    let rows: Int
    /// Keys of a round.
    let keys: Int
    let columnThreads: Int
    /// Of a slice of queries and keys.
    let depth: Int
    /// Of a slice of values.
    let valueKeys: Int
    private let headSize: Int

    /// `threads` is a multiple of `columnThreads`; `rows` one of their quotient, `keys` of `columnThreads`.
    init(headSize: Int, rows: Int, keys: Int, threads: Int, columnThreads: Int) {
        self.headSize = headSize
        self.rows = rows
        self.keys = keys
        self.threads = threads
        self.columnThreads = columnThreads
        depth = headSize.isMultiple(of: 16) ? 16 : 8
        // As many values as fit where the slices of the scores lie, or a little more.
        let room = depth * (rows + 4 + keys + 4)
        var values = keys
        while values > 1, values * headSize > max(room, 2048) { values /= 2 }
        valueKeys = values
    }

    /// The tile by shape.
    static func choose(headSize: Int, keys keyCount: Int, on device: VulkanDeviceInfo) -> AttentionTile {
        let isSoftware = device.kind == .software
        // Large heads keep so many sums that fewer rows fit a thread's registers.
        let isSmall = isSoftware || headSize > 160 || device.sharedMemory < 32 << 10
        // The larger tile unless the smaller one leaves fewer keys empty (77 of cross-attention: 96, not 128).
        let padded = { divideUp(keyCount, $0) * $0 }
        let keys = isSmall || padded(32) < padded(64) ? 32 : 64
        return AttentionTile(
            headSize: headSize, rows: isSmall ? 32 : 64, keys: keys,
            threads: isSoftware ? 64 : min(256, device.maxWorkgroupInvocations), columnThreads: isSoftware ? 8 : 16)
    }

    /// Every tile that the device can run, the one by shape first. A new variant is one more line.
    static func candidates(headSize: Int, keys: Int, on device: VulkanDeviceInfo) -> [AttentionTile] {
        let chosen = choose(headSize: headSize, keys: keys, on: device)
        func tile(_ rows: Int, _ keys: Int, _ threads: Int, _ columnThreads: Int) -> AttentionTile {
            AttentionTile(headSize: headSize, rows: rows, keys: keys, threads: threads, columnThreads: columnThreads)
        }
        // On software drivers a workgroup of one subgroup, too, which need not wait for anybody.
        let tiles =
            device.kind == .software
            ? [tile(32, 64, 64, 8), tile(16, 32, 64, 8), tile(8, 32, 8, 8), tile(16, 32, 8, 8)]
            : [
                tile(32, 32, 256, 16), tile(32, 64, 256, 16), tile(64, 32, 256, 16), tile(64, 64, 256, 16),
                tile(128, 64, 256, 16), tile(64, 64, 128, 16), tile(64, 32, 128, 8),
            ]
        return [chosen]
            + tiles.filter {
                $0 != chosen && $0.sharedBytes <= device.sharedMemory && $0.threads <= device.maxWorkgroupInvocations
                    && $0.sumsOfThread <= 256
            }
    }

    /// Results that a thread keeps; more than some hundred do not stay in registers.
    private var sumsOfThread: Int { rows * columnThreads / threads * divideUp(headSize, columnThreads) }

    /// Bytes of shared memory: a slice, and the probabilities of a round.
    private var sharedBytes: Int {
        4 * (max(depth * (rows + 4 + keys + 4), valueKeys * headSize) + keys * (rows + 4))
    }

    var constants: [UInt32] { [threads, rows, keys].map { UInt32($0) } }

    package var description: String { "\(rows)x\(keys) by \(threads)" }
}
