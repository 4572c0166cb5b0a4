import CalderaVulkan

/// How an attention kernel divides its work.
package struct AttentionTile: Sendable, Hashable, CustomStringConvertible {
    /// The kernels, in Shaders/attention.
    enum Core: String, Sendable {
        /// Slices in shared memory.
        case shared = "attention"
        /// One subgroup, whose lanes broadcast what they hold: for software drivers.
        case broadcast = "attention_broadcast"
    }

    let core: Core
    let threads: Int
    /// Queries of a workgroup.
    let rows: Int
    /// Keys of a round.
    let keys: Int
    /// This and what follows: 0 for the broadcast core, which has no slices.
    let columnThreads: Int
    /// Of a slice of queries and keys.
    let depth: Int
    /// Of a slice of values.
    let valueKeys: Int
    private let headSize: Int

    /// `threads` is a multiple of `columnThreads`; `rows` one of their quotient, `keys` of `columnThreads`.
    init(headSize: Int, rows: Int, keys: Int, threads: Int, columnThreads: Int) {
        core = .shared
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

    /// The broadcast core's; nil for devices that it is not for.
    private init?(broadcast headSize: Int, keys keyCount: Int, on device: VulkanDeviceInfo) {
        guard device.kind == .software, device.subgroupBroadcast, (4...16).contains(device.subgroupSize) else {
            return nil
        }
        let lanes = device.subgroupSize
        core = .broadcast
        self.headSize = headSize
        threads = lanes
        // The code grows with the rows and the head: larger heads would take the driver's compiler many seconds.
        rows = headSize > 160 ? lanes : divideUp(16, lanes) * lanes
        // As few keys as can be behind the last one: 77 of cross-attention are two rounds of 40.
        let rounds = max(1, divideUp(keyCount, 8 * lanes))
        keys = max(1, divideUp(divideUp(keyCount, rounds), lanes)) * lanes
        (columnThreads, depth, valueKeys) = (0, 0, 0)
    }

    /// The tile by shape.
    static func choose(headSize: Int, keys keyCount: Int, on device: VulkanDeviceInfo) -> AttentionTile {
        if let tile = AttentionTile(broadcast: headSize, keys: keyCount, on: device) { return tile }
        return chooseShared(headSize: headSize, keys: keyCount, on: device)
    }

    private static func chooseShared(headSize: Int, keys keyCount: Int, on device: VulkanDeviceInfo) -> AttentionTile {
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

    package var description: String {
        core == .broadcast ? "broadcast \(rows)x\(keys)" : "\(rows)x\(keys) by \(threads)"
    }
}
