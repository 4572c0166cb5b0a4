import CalderaGraph
import CalderaVulkan

/// How the matrix kernels divide a product into workgroups.
package struct MatrixTile: Sendable, Hashable, CustomStringConvertible {
    package enum Core: String, Sendable {
        /// Through shared memory, for GPUs: Shaders/include/matrix_tile.glsl.
        case shared
        /// Through subgroup broadcasts, for software drivers: Shaders/include/matrix_broadcast.glsl.
        case broadcast
        /// Through cooperative matrices, for fp16 on GPUs that have them: Shaders/include/matrix_cooperative.glsl.
        case cooperative
        /// The same through one matrix for all of a subgroup's results, or of a workgroup's: VK_NV_cooperative_matrix2.
        case flexible

        /// What a kernel's name ends with.
        var suffix: String { self == .shared ? "" : "_\(rawValue)" }
    }

    package let core: Core
    package let rows: Int
    package let columns: Int
    /// What one round of the loop takes; 4 for the broadcast core.
    package let depth: Int
    /// Of each thread; in the cooperative core of each subgroup.
    package let threadRows: Int
    package let threadColumns: Int
    package let threads: Int
    /// Of the cooperative and the flexible core alone.
    package internal(set) var matrix: CooperativeMatrix?
    /// Whether a matrix belongs to the whole workgroup: in the flexible core alone.
    package private(set) var isOfWorkgroup = false
    /// Workgroups that share a tile's sums, each with a part of their terms.
    package private(set) var parts = 1

    /// The same with that many parts: more workgroups where few tiles have long sums.
    package func divided(into parts: Int) -> MatrixTile {
        var tile = self
        tile.parts = parts
        return tile
    }

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

    /// A tile of `down` x `across` subgroups of `lanes`, each of which makes some `subgroupRows` x `subgroupColumns`
    /// results: as near as the matrix's own size allows.
    package static func cooperative(
        _ matrix: CooperativeMatrix, lanes: Int, down: Int, across: Int, _ subgroupRows: Int, _ subgroupColumns: Int,
        _ depth: Int
    ) -> MatrixTile {
        let rows = max(1, subgroupRows / matrix.rows) * matrix.rows
        let columns = max(1, subgroupColumns / matrix.columns) * matrix.columns
        return MatrixTile(
            core: .cooperative, rows: down * rows, columns: across * columns,
            depth: max(1, depth / matrix.depth) * matrix.depth, threadRows: rows, threadColumns: columns,
            threads: down * across * lanes, matrix: matrix)
    }

    /// A tile of `down` x `across` flexible matrices of nearly `rows` x `columns`, each of a subgroup of `lanes`; of one
    /// matrix where it belongs to the workgroup.
    package static func flexible(
        _ matrix: FlexibleMatrix, lanes: Int, down: Int, across: Int, _ rows: Int, _ columns: Int, _ depth: Int
    ) -> MatrixTile {
        func side(_ wanted: Int, _ step: Int) -> Int { max(1, wanted / step) * step }
        let (down, across) = matrix.threads == nil ? (down, across) : (1, 1)
        // The loads take eight at one time.
        let step = matrix.depth.isMultiple(of: 8) ? matrix.depth : matrix.depth * 8
        let size = CooperativeMatrix(
            rows: side(rows, matrix.rows), columns: side(columns, matrix.columns), depth: side(depth, step))
        var tile = MatrixTile(
            core: .flexible, rows: down * size.rows, columns: across * size.columns, depth: size.depth,
            threadRows: size.rows, threadColumns: size.columns, threads: matrix.threads ?? down * across * lanes,
            matrix: size)
        tile.isOfWorkgroup = matrix.threads != nil
        return tile
    }

    /// The candidates for GPUs, from many results for each load to few. A new variant is one more line.
    static let sharedCandidates: [MatrixTile] = [
        .shared(128, 128, 16, 8, 8),
        .shared(128, 64, 16, 8, 4),
        .shared(64, 64, 16, 4, 4),
        .shared(32, 32, 32, 4, 4),
        .shared(16, 64, 32, 4, 4),
    ]

    /// The same for cooperative matrices, those of the largest size first.
    static func cooperativeCandidates(on device: VulkanDeviceInfo) -> [MatrixTile] {
        let lanes = device.subgroupSize
        let matrices = device.cooperativeMatrices.sorted {
            ($0.rows * $0.columns * $0.depth, $0.rows) > ($1.rows * $1.columns * $1.depth, $1.rows)
        }
        let tiles = matrices.flatMap { matrix -> [MatrixTile] in
            [
                .cooperative(matrix, lanes: lanes, down: 2, across: 4, 64, 64, 16),
                .cooperative(matrix, lanes: lanes, down: 2, across: 2, 64, 64, 32),
                .cooperative(matrix, lanes: lanes, down: 2, across: 2, 64, 32, 32),
                .cooperative(matrix, lanes: lanes, down: 2, across: 2, 32, 32, 32),
                .cooperative(matrix, lanes: lanes, down: 1, across: 4, 16, 16, 32),
            ]
        }
        // More sums than that for each lane would not stay in registers.
        return tiles.filter { $0.threadRows * $0.threadColumns <= 128 * lanes }
    }

    /// The same for flexible matrices.
    static func flexibleCandidates(on device: VulkanDeviceInfo) -> [MatrixTile] {
        let lanes = device.subgroupSize
        let tiles = device.flexibleMatrices.flatMap { matrix -> [MatrixTile] in
            guard matrix.threads != nil else {
                return [
                    .flexible(matrix, lanes: lanes, down: 2, across: 2, 64, 64, 32),
                    .flexible(matrix, lanes: lanes, down: 2, across: 2, 32, 32, 32),
                    .flexible(matrix, lanes: lanes, down: 1, across: 4, 16, 16, 32),
                ]
            }
            return [(128, 256), (128, 128), (64, 128), (64, 64), (32, 64)].map {
                .flexible(matrix, lanes: lanes, down: 1, across: 1, $0.0, $0.1, 32)
            }
        }
        let side = device.flexibleSide
        var known: Set<MatrixTile> = []
        return tiles.filter { tile in
            known.insert(tile).inserted && tile.threadRows <= side && tile.threadColumns <= side && tile.depth <= side
                && tile.rows * tile.columns <= 128 * tile.threads
                && tile.sharedBytes + (tile.isOfWorkgroup ? device.reservedSharedMemory : 0) <= device.sharedMemory
        }
    }

    /// Whether the compiler of this build could make the kernels of a core.
    private static let builtCores: Set<Core> = Set(
        [.cooperative, .flexible].filter { core in
            ["gemm", "conv"].allSatisfy { KernelBinaries.contains("\($0)\(core.suffix).FP16") }
        })

    /// Every candidate that the device can run.
    package static func candidates(on device: VulkanDeviceInfo) -> [MatrixTile] {
        let cooperative = builtCores.contains(.cooperative) ? cooperativeCandidates(on: device) : []
        let flexible = builtCores.contains(.flexible) ? flexibleCandidates(on: device) : []
        let tiles = (cooperative + flexible + sharedCandidates).filter {
            $0.sharedBytes <= device.sharedMemory && $0.threads <= device.maxWorkgroupInvocations
        }
        guard device.kind == .software, device.subgroupBroadcast, (4...16).contains(device.subgroupSize) else {
            return tiles
        }
        let lanes = device.subgroupSize
        return broadcastCandidates(lanes: lanes) + tiles
    }

    /// The candidates for software drivers, from the widest to the narrowest. On lavapipe 16 x 64 is some 1.4 times as
    /// fast as 16 x 32, since half as many elements are loaded for each result; larger ones gain little.
    private static func broadcastCandidates(lanes: Int) -> [MatrixTile] {
        [8, 4, 1].map { .broadcast(16, $0 * lanes, lanes: lanes) }
    }

    /// Those that can run a product, then those with their sums divided where that makes work for a larger device.
    static func candidates(for work: MatrixWork, on device: VulkanDeviceInfo) -> [MatrixTile] {
        let whole = candidates(on: device).filter { $0.supports(work.dtype) }
        // Software drivers take so long for the others that no division could make up for it.
        let divisible = whole.filter { device.kind != .software || $0.core == .broadcast }
        let divided = divisible.flatMap { tile in divisions.map { tile.divided(into: $0) } }.filter { $0.suits(work) }
        return (whole + divided).filter { $0.supports(work) }
    }

    private static let divisions = [2, 4, 8, 16]
    /// Workgroups that fill the largest GPU several times over.
    private static let plenty = 1024
    /// Bytes of fp32 sums beyond which their way through memory costs more than idle processors do.
    private static let largestPartialSums = 64 << 20

    /// Whether dividing the sums may pay: each part stays long, the workgroups are few, and so are the sums.
    private func suits(_ work: MatrixWork) -> Bool {
        groups(rows: work.rows, columns: work.columns) * parts <= MatrixTile.plenty
            && work.depth >= 256 * parts && partialBytes(work) <= MatrixTile.largestPartialSums
    }

    /// Bytes of the parts' sums.
    func partialBytes(_ work: MatrixWork) -> Int { 4 * parts * work.rows * work.columns }

    /// Whether the core multiplies elements of that type.
    package func supports(_ dtype: DType) -> Bool { matrix == nil || dtype == .float16 }

    /// Whether it can make a product. Gated ones need threads that finish pairs of columns: what adds parts does, but
    /// flexible matrices are finished element by element, and the narrowest broadcasting lanes have a column each.
    func supports(_ work: MatrixWork) -> Bool {
        supports(work.dtype) && (!work.isGated || parts > 1 || (core != .flexible && threadColumns > 1))
    }

    /// The tile for a product: on software drivers the widest of the broadcast core that is more than half full; else the
    /// first candidate that is no more than half empty and makes enough workgroups to fill a large GPU, and where none
    /// does, the one with most workgroups.
    package static func choose(rows: Int, columns: Int, _ dtype: DType, on device: VulkanDeviceInfo) -> MatrixTile {
        choose(for: MatrixWork(rows: rows, columns: columns, depth: 1, dtype: dtype), on: device)
    }

    static func choose(for work: MatrixWork, on device: VulkanDeviceInfo) -> MatrixTile {
        let (rows, columns) = (work.rows, work.columns)
        // Flexible matrices are for the tuner: which sizes of them are fast, nothing here can know.
        let candidates = candidates(on: device).filter { $0.supports(work) && $0.core != .flexible }
        let broadcasts = candidates.filter { $0.core == .broadcast }
        if let narrowest = broadcasts.last { return broadcasts.first { 2 * columns > $0.columns } ?? narrowest }
        let enough = candidates.first {
            2 * rows >= $0.rows && 2 * columns >= $0.columns && $0.groups(rows: rows, columns: columns) >= 128
        }
        let most = candidates.max {
            $0.groups(rows: rows, columns: columns) < $1.groups(rows: rows, columns: columns)
        }
        return enough ?? most ?? .shared(16, 64, 32, 4, 4)
    }

    func groups(rows: Int, columns: Int) -> Int { divideUp(rows, self.rows) * divideUp(columns, self.columns) }

    /// Elements of a row that the core loads at one time.
    var loadWidth: Int { matrix == nil ? 4 : 8 }

    /// The size that the core's subgroups must have; nil where it does not matter.
    var subgroupSize: Int? { matrix == nil || isOfWorkgroup ? nil : threads / (down * across) }

    private var down: Int { rows / threadRows }
    private var across: Int { columns / threadColumns }

    /// Bytes of shared memory: both slices, padded by four elements a row; for cooperative matrices two of each in fp16,
    /// padded by eight, and a matrix of sums for each subgroup, padded by four.
    var sharedBytes: Int {
        switch core {
        case .shared: return 4 * depth * (rows + 4 + columns + 4)
        case .broadcast: return 0
        case .cooperative:
            let sums = matrix.map { 4 * down * across * $0.rows * ($0.columns + 4) } ?? 0
            return 2 * 2 * (rows + columns) * (depth + 8) + sums
        case .flexible: return 2 * 2 * (rows + columns) * (depth + 8)
        }
    }

    /// Specialization constants 0 to 7.
    var constants: [UInt32] {
        var used = [threads, rows, columns]
        if core == .shared { used += [depth, threadRows, threadColumns] }
        if let matrix { used += [depth, matrix.rows, matrix.columns, matrix.depth, 16 * down + across] }
        return used.map { UInt32($0) } + [UInt32](repeating: 0, count: 8 - used.count)
    }

    /// Specialization constants 14 to 16, of which 15 is the core's and 16 the source's.
    func lastConstants(isJoined: Bool) -> [UInt32] {
        // The scopes are SPIR-V's numbers for Workgroup and Subgroup.
        [UInt32(parts), isOfWorkgroup ? 2 : 3, isJoined.constant]
    }

    package var description: String {
        let size = core == .broadcast ? "\(rows)x\(columns)" : "\(rows)x\(columns)x\(depth)"
        if isOfWorkgroup { return size + " by \(threads)" + (parts > 1 ? " in \(parts) parts" : "") }
        return size + (matrix.map { " of \($0.rows)x\($0.columns)x\($0.depth)" } ?? "")
            + (parts > 1 ? " in \(parts) parts" : "")
    }
}

/// The extents of a product, or of a convolution as one.
struct MatrixWork {
    let rows: Int
    let columns: Int
    /// Terms of each sum.
    let depth: Int
    let dtype: DType
    /// Whether pairs of columns become one.
    var isGated = false

    init(rows: Int, columns: Int, depth: Int, dtype: DType) {
        (self.rows, self.columns, self.depth, self.dtype) = (rows, columns, depth, dtype)
    }

    /// Of a product or a convolution.
    init(_ node: Node) {
        let shape = node.output.shape
        isGated = node.op.epilogue?.gated ?? false
        (rows, dtype) = (shape.rows, node.output.dtype)
        columns = shape.channels * (node.op.epilogue?.columnsPerResult ?? 1)
        let channels = node.sourceChannels
        if case .convolution(let convolution, _) = node.op {
            depth = channels * convolution.kernelHeight * convolution.kernelWidth
        } else {
            depth = channels
        }
    }
}
