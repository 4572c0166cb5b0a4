import CalderaVulkan

/// How the kernel for products of few rows divides its work (Shaders/gemm/gemv.comp).
package struct RowTile: Sendable, Hashable, CustomStringConvertible {
    /// Threads that share columns of the result, a power of two.
    let lanes: Int
    /// How many times `held` columns a workgroup makes, side by side.
    let columns: Int
    /// Columns that lanes share: they read the source once for all of them.
    let held: Int
    /// How many times sixteen bytes a lane takes that follow each other.
    let piece: Int

    /// Neighbours' accesses make one on a GPU, where a lane therefore takes every 32nd sixteen bytes.
    package static let gpu = RowTile(lanes: 32, columns: 4, held: 1, piece: 1)

    /// A software driver runs one lane after another: as many lanes as it has in a vector, few accesses to the source,
    /// and as many cache lines under way at a time as there are lanes.
    static func software(lanes: Int) -> RowTile { RowTile(lanes: lanes, columns: 1, held: 4, piece: 4) }

    static func choose(on device: VulkanDeviceInfo) -> RowTile {
        guard device.kind == .software else { return gpu }
        return software(lanes: min(gpu.lanes, max(device.subgroupSize, 1)))
    }

    package var description: String { "rows \(lanes)x\(columns) of \(held)x\(piece)" }
}
