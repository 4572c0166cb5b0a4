import CalderaGraph
import CalderaVulkan

/// Which variant of a kernel runs on a device for a shape. The rules are few and documented here; a tuner that measures
/// takes their place shape by shape.
struct KernelChoice {
    /// A software driver runs one subgroup as one vector, and shared memory is ordinary memory to it.
    let isSoftware: Bool
    let subgroupSize: Int
    /// Bytes of a workgroup's shared memory that kernels may use: at most 32 KiB, so that several workgroups fit.
    let sharedMemory: Int

    init(_ info: VulkanDeviceInfo) {
        isSoftware = info.kind == .software
        subgroupSize = max(info.subgroupSize, 1)
        sharedMemory = min(info.sharedMemory, 32 << 10)
    }

    /// How a matrix product or a convolution is cut into workgroups.
    struct MatrixTile {
        /// What stands behind the shader's name: the core.
        let core: String
        let rows: Int
        let columns: Int
        /// Specialisation constants 0 to 7.
        let constants: [UInt32]
    }

    func matrixTile(rows: Int, columns: Int) -> MatrixTile {
        if isSoftware {
            // One lane a column of each LANES; a tile of fewer rows where there are not more.
            let tileRows = rows <= subgroupSize ? subgroupSize : 2 * subgroupSize
            let tileColumns = 4 * subgroupSize
            let constants = [subgroupSize, tileRows, tileColumns, 0, 0, 0, 0, 0]
            return MatrixTile(
                core: "_broadcast", rows: tileRows, columns: tileColumns, constants: constants.map(UInt32.init))
        }
        if rows >= 1024, columns >= 128, sharedMemory >= 20 << 10 { return tiled(128, 128, perThread: 8) }
        return rows <= 32 ? tiled(32, 64, perThread: 4) : tiled(64, 64, perThread: 4)
    }

    private func tiled(_ rows: Int, _ columns: Int, perThread: Int) -> MatrixTile {
        let threads = (rows / perThread) * (columns / perThread)
        let constants = [threads, rows, columns, 16, perThread, perThread, 0, 0]
        return MatrixTile(core: "", rows: rows, columns: columns, constants: constants.map(UInt32.init))
    }

    /// How attention is cut: see `attention.comp`.
    struct AttentionTile {
        let threads: Int
        let rows: Int
        let keys: Int
        let columnThreads: Int
        let depth: Int
        let valueKeys: Int

        /// Bytes of shared memory that the kernel declares.
        func sharedSize(headSize: Int) -> Int {
            let slice = max(depth * (rows + keys + 8), valueKeys * headSize)
            return 4 * (slice + keys * (rows + 4))
        }

        /// Sums of the result that each thread keeps.
        func registers(headSize: Int) -> Int {
            rows * columnThreads / threads * ((headSize + columnThreads - 1) / columnThreads)
        }
    }

    /// The largest tile whose sums fit registers and whose slices fit shared memory.
    func attentionTile(headSize: Int) -> AttentionTile {
        let depth = headSize % 16 == 0 ? 16 : 8
        let candidates = isSoftware ? softwareAttention(depth) : gpuAttention(depth)
        let fitting = candidates.first {
            $0.sharedSize(headSize: headSize) <= sharedMemory && $0.registers(headSize: headSize) <= 64
        }
        return fitting ?? candidates[candidates.count - 1]
    }

    private func gpuAttention(_ depth: Int) -> [AttentionTile] {
        [(64, 32), (32, 16), (16, 16), (16, 8), (16, 4)].map { size, valueKeys in
            AttentionTile(
                threads: 256, rows: size, keys: size, columnThreads: 16, depth: depth, valueKeys: valueKeys)
        }
    }

    private func softwareAttention(_ depth: Int) -> [AttentionTile] {
        [8, 4, 2, 1].map { rows in
            AttentionTile(
                threads: subgroupSize, rows: rows, keys: 2 * subgroupSize, columnThreads: subgroupSize, depth: depth,
                valueKeys: subgroupSize)
        }
    }

    /// Invocations of a workgroup of kernels that go over many elements, and of those that reduce.
    var elementThreads: Int { isSoftware ? 64 : 256 }
    var reductionThreads: Int { isSoftware ? subgroupSize : 128 }

    /// Into how many parts a group's pixels are cut for its moments.
    func groupNormParts(elements: Int, groups: Int) -> Int {
        let wanted = isSoftware ? elements / 65_536 : elements / 8192
        // Many groups fill a device without being cut.
        return min(max(wanted, 1), max(1024 / groups, 1))
    }

    /// Pixels that each thread of a norm's application goes over.
    func groupNormRun(pixels: Int) -> Int { min(max(pixels / 64, 1), 16) }
}
