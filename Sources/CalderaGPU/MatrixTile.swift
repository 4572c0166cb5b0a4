import CalderaGraph
import CalderaVulkan

/// How the matrix kernels divide a product into workgroups.
package struct MatrixTile: Sendable, Hashable, CustomStringConvertible {
    package enum Core: String, Sendable {
        /// Through shared memory, for GPUs: Shaders/include/matrix_tile.glsl.
        case shared
        /// Through subgroup broadcasts, for software drivers: Shaders/include/matrix_broadcast.glsl.
        case broadcast
    }

    package let core: Core
    package let rows: Int
    package let columns: Int
    /// What one round of the loop takes; 4 for the broadcast core.
    package let depth: Int
    /// Of each thread.
    package let threadRows: Int
    package let threadColumns: Int
    package let threads: Int

    /// A tile through shared memory; `threadRows` x `threadColumns` results for each thread, both multiples of 4.
    package static func shared(_ rows: Int, _ columns: Int, _ depth: Int, _ threadRows: Int, _ threadColumns: Int)
        -> MatrixTile
    {
        MatrixTile(
            core: .shared, rows: rows, columns: columns, depth: depth, threadRows: threadRows,
            threadColumns: threadColumns, threads: rows / threadRows * (columns / threadColumns))
    }

    /// A tile of one subgroup; rows and columns are multiples of `lanes`.
    static func broadcast(_ rows: Int, _ columns: Int, lanes: Int) -> MatrixTile {
        MatrixTile(
            core: .broadcast, rows: rows, columns: columns, depth: 4, threadRows: rows,
            threadColumns: columns / lanes, threads: lanes)
    }

    /// The candidates for GPUs, from many results for each load to few. A new variant is one more line.
    static let sharedCandidates: [MatrixTile] = [
        .shared(128, 128, 16, 8, 8),
        .shared(128, 64, 16, 8, 4),
        .shared(64, 64, 16, 4, 4),
        .shared(32, 32, 32, 4, 4),
        .shared(16, 64, 32, 4, 4),
    ]

    /// Every candidate that the device can run.
    package static func candidates(on device: VulkanDeviceInfo) -> [MatrixTile] {
        let shared = sharedCandidates.filter {
            $0.sharedBytes <= device.sharedMemory && $0.threads <= device.maxWorkgroupInvocations
        }
        guard device.kind == .software, device.subgroupBroadcast, (4...16).contains(device.subgroupSize) else {
            return shared
        }
        let lanes = device.subgroupSize
        return [.broadcast(16, 4 * lanes, lanes: lanes)] + shared
    }

    /// The tile for a product: on software drivers the broadcast core; else the first candidate that is no more than
    /// half empty and makes enough workgroups to fill a large GPU, and where none does, the one with most workgroups.
    static func choose(rows: Int, columns: Int, on device: VulkanDeviceInfo) -> MatrixTile {
        let candidates = candidates(on: device)
        if let first = candidates.first, first.core == .broadcast { return first }
        let enough = candidates.first {
            2 * rows >= $0.rows && 2 * columns >= $0.columns && $0.groups(rows: rows, columns: columns) >= 128
        }
        let most = candidates.max {
            $0.groups(rows: rows, columns: columns) < $1.groups(rows: rows, columns: columns)
        }
        return enough ?? most ?? .shared(16, 64, 32, 4, 4)
    }

    func groups(rows: Int, columns: Int) -> Int { divideUp(rows, self.rows) * divideUp(columns, self.columns) }

    /// Bytes of shared memory: both slices, padded by four elements a row.
    var sharedBytes: Int { core == .broadcast ? 0 : 4 * depth * (rows + 4 + columns + 4) }

    /// Specialization constants 0 to 7.
    var constants: [UInt32] {
        let used =
            core == .broadcast
            ? [threads, rows, columns] : [threads, rows, columns, depth, threadRows, threadColumns]
        return used.map { UInt32($0) } + [UInt32](repeating: 0, count: 8 - used.count)
    }

    package var description: String {
        core == .broadcast ? "\(rows)x\(columns)" : "\(rows)x\(columns)x\(depth)"
    }
}
