import CalderaGraph

/// A run of nodes that is submitted as one, and the streamed weights that must be in the region before it runs.
struct StreamSegment {
    struct Entry {
        let weight: DeviceWeight
        /// In the region.
        let offset: Int
    }

    let stage: Stage
    /// By their places in the stage.
    let nodes: Range<Int>
    let entries: [Entry]
    /// Bytes of the entries together.
    let size: Int
    /// Which of the regions.
    let region: Int
}

/// Where every weight of a plan will lie: in chunks that stay, or in one of the regions that streamed ones share.
struct WeightLayout {
    struct Place: Hashable {
        let chunk: Int
        let offset: Int
    }

    /// Two: one is filled while the device reads the other.
    static let regionCount = 2
    private static let largestChunk = 256 << 20

    let resident: [DeviceWeight]
    private(set) var places: [WeightKey: Place] = [:]
    private(set) var constants: [[Float]: Place] = [:]
    private(set) var chunkSizes: [Int] = []
    let promptSegments: [StreamSegment]
    let stepSegments: [StreamSegment]
    /// Bytes of each region; 0 when nothing streams.
    let regionSize: Int
    /// Packed bytes of what streams.
    let streamedSize: Int

    /// - Parameters:
    ///   - budget: bytes for everything here; nil for no bound.
    ///   - copies: 1 where the host writes device memory itself; 2 where each region has a staging buffer beside it.
    init(_ census: MemoryCensus, budget: Int?, copies: Int, largestAllocation: Int) {
        let weights = census.weights
        let constantSize = census.constants.reduce(0) { $0 + DeviceWeight.padded($1.count * 4) }
        let vectorSize = weights.filter(\.isVector).reduce(0) { $0 + $1.size }
        let matrices = weights.indices.filter { !weights[$0].isVector }
        let regions = WeightLayout.regionCount * copies
        // A region holds all of a node's weights; beyond the largest of them that is little.
        let beside = regions * WeightLayout.besideLargest(census)
        let residency = Residency(
            matrices.map { .init(size: weights[$0].size, stage: weights[$0].stage) },
            budget: budget.map { $0 - constantSize - vectorSize - beside }, regions: regions)
        var streams: Set<Int> = []
        for (place, index) in matrices.enumerated() where !residency.isResident[place] { streams.insert(index) }

        let needs = (census.uses(.prompt) + census.uses(.step)).map { uses in
            uses.filter(streams.contains).reduce(0) { $0 + weights[$1].size }
        }
        regionSize = needs.max() ?? 0
        streamedSize = streams.reduce(0) { $0 + weights[$1].size }
        resident = weights.indices.filter { !streams.contains($0) }.map { weights[$0] }
        promptSegments = WeightLayout.segments(census, .prompt, streams, regionSize)
        stepSegments = WeightLayout.segments(census, .step, streams, regionSize)
        place(census.constants, largestChunk: min(WeightLayout.largestChunk, largestAllocation))
    }

    var chunkBytes: Int { chunkSizes.reduce(0, +) }

    func segments(_ stage: Stage) -> [StreamSegment] { stage == .step ? stepSegments : promptSegments }

    /// The most that a node's matrices take beside the largest of them.
    private static func besideLargest(_ census: MemoryCensus) -> Int {
        (census.uses(.prompt) + census.uses(.step)).map { uses in
            let sizes = uses.map { census.weights[$0] }.filter { !$0.isVector }.map(\.size)
            return sizes.reduce(0, +) - (sizes.max() ?? 0)
        }.max() ?? 0
    }

    /// Cuts a stage before each node whose streamed weights no longer fit the region beside those of its predecessors.
    private static func segments(
        _ census: MemoryCensus, _ stage: Stage, _ streams: Set<Int>, _ regionSize: Int
    ) -> [StreamSegment] {
        let uses = census.uses(stage)
        var segments: [StreamSegment] = []
        var (first, held, size) = (0, [Int](), 0)
        func close(at end: Int) {
            var offset = 0
            let entries = held.map { index in
                defer { offset += census.weights[index].size }
                return StreamSegment.Entry(weight: census.weights[index], offset: offset)
            }
            segments.append(
                StreamSegment(
                    stage: stage, nodes: first..<end, entries: entries, size: size,
                    region: segments.count % regionCount))
            (first, held, size) = (end, [], 0)
        }
        for (node, indices) in uses.enumerated() {
            let wanted = indices.filter { streams.contains($0) && !held.contains($0) }
            let bytes = wanted.reduce(0) { $0 + census.weights[$1].size }
            if size + bytes > regionSize {
                close(at: node)
                held = indices.filter(streams.contains)
                size = held.reduce(0) { $0 + census.weights[$1].size }
            } else {
                held += wanted
                size += bytes
            }
        }
        close(at: uses.count)
        return segments
    }

    /// Largest first, each into the first chunk with room; a chunk ends where its last weight does.
    private mutating func place(_ values: Set<[Float]>, largestChunk: Int) {
        func chunk(for size: Int) -> Place {
            if let index = chunkSizes.firstIndex(where: { $0 + size <= largestChunk }) {
                defer { chunkSizes[index] += size }
                return Place(chunk: index, offset: chunkSizes[index])
            }
            chunkSizes.append(size)
            return Place(chunk: chunkSizes.count - 1, offset: 0)
        }
        // By name among equals, so that the layout is the same each time.
        for weight in resident.sorted(by: { ($0.size, $1.key.name) > ($1.size, $0.key.name) }) {
            places[weight.key] = chunk(for: weight.size)
        }
        for value in values.sorted(by: { $0.count > $1.count }) {
            constants[value] = chunk(for: DeviceWeight.padded(value.count * 4))
        }
    }
}
