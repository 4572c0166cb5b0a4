import CalderaGraph
import CalderaTestSupport
import Testing

/// The arena's placement, on random sets of intervals and on sets such as a UNet makes.
@Suite struct ArenaTests {
    private static let limits = [
        PlanLimits(alignment: 1), PlanLimits(alignment: 256), PlanLimits(alignment: 16, blockSize: 4096),
        PlanLimits(alignment: 256, blockSize: 5000),
    ]

    private func randomIntervals(seed: UInt64, limits: PlanLimits) -> [Interval] {
        var random = SeededRandom(seed: seed)
        return (0..<Int.random(in: 1...60, using: &random)).map { value in
            let first = Int.random(in: 0..<40, using: &random)
            let units = Int.random(in: 1...(4096 / limits.alignment), using: &random)
            let last = first + Int.random(in: 0..<12, using: &random)
            return Interval(value: value, size: units * limits.alignment, first: first, last: last)
        }
    }

    @Test(arguments: limits)
    func intervalsThatAreAliveTogetherShareNoByte(limits: PlanLimits) throws {
        for seed in 0..<200 {
            let intervals = randomIntervals(seed: UInt64(seed), limits: limits)
            let arena = Arena(intervals, limits: limits)
            let placed = try intervals.map { ($0, try #require(arena.offsets[$0.value])) }
            for (index, (interval, offset)) in placed.enumerated() {
                let end = offset + interval.size
                #expect(offset >= 0 && offset % limits.alignment == 0 && end <= arena.size)
                #expect(offset / limits.blockSize == (end - 1) / limits.blockSize, "\(interval) straddles two blocks")
                for (other, place) in placed[..<index]
                where interval.first <= other.last && other.first <= interval.last {
                    #expect(end <= place || place + other.size <= offset, "\(interval) and \(other), seed \(seed)")
                }
            }
            #expect(arena.size >= Arena.largestLiveSet(intervals))
        }
    }

    @Test func largestLiveSetCountsBothEnds() {
        let intervals = [
            Interval(value: 0, size: 10, first: 0, last: 2), Interval(value: 1, size: 20, first: 2, last: 3),
            Interval(value: 2, size: 25, first: 3, last: 5), Interval(value: 3, size: 5, first: 6, last: 6),
        ]
        #expect(Arena.largestLiveSet(intervals) == 45)
        #expect(Arena.largestLiveSet([]) == 0)
    }

    @Test func chainNeedsTwoNeighboursOnly() {
        let intervals = (0..<50).map { Interval(value: $0, size: 1024, first: $0, last: $0 + 1) }
        #expect(Arena(intervals, limits: PlanLimits()).size == 2048)
    }

    @Test func blocksAreWholeMultiplesOfTheAlignment() {
        #expect(PlanLimits(alignment: 256, blockSize: 5000).blockSize == 4864)
        #expect(PlanLimits().blockSize == .max)
    }

    /// A UNet's ladder: skips that wait for their way up, and short-lived values of several sizes at each level.
    @Test(arguments: [(64, 320, 2), (96, 320, 3), (120, 128, 3), (37, 64, 4)])
    func arenaOfAUNetIsCloseToTheLargestLiveSet(size: Int, channels: Int, levels: Int) throws {
        let plan = try Planner.plan(try ladder(size: size, channels: channels, levels: levels))
        #expect(Double(plan.arenaSize) <= 1.15 * Double(plan.largestLiveSet))
        #expect(plan.arenaSize >= plan.largestLiveSet)
    }

    private func ladder(size: Int, channels: Int, levels: Int) throws -> Graph {
        let graph = Graph(dtype: .float16)
        let state = graph.state("latents", [2, size, size, 4], .float16)
        var value = try convolution(graph, state, channels, "in")
        var skips = [value]
        for level in 0..<levels {
            for layer in 0..<2 {
                value = try block(graph, value, channels * (level + 1), "down.\(level).\(layer)")
                skips.append(value)
            }
            guard level < levels - 1 else { break }
            value = try convolution(graph, value, channels * (level + 1), "shrink.\(level)", stride: 2)
            skips.append(value)
        }
        for level in (0..<levels).reversed() {
            for layer in 0..<3 {
                guard let skip = skips.popLast() else { break }
                let joined = try graph.concat(value, skip, axis: -1, label: "skip")
                value = try block(graph, joined, channels * (level + 1), "up.\(level).\(layer)")
            }
            guard level > 0, let skip = skips.last else { break }
            let large = try graph.upsampleNearest(value, height: skip.shape[1], width: skip.shape[2], label: "enlarge")
            value = try convolution(graph, large, channels * (level + 1), "grow.\(level)")
        }
        graph.output("noise", try convolution(graph, value, 4, "out"))
        return graph
    }

    private func convolution(
        _ graph: Graph, _ source: Tensor, _ features: Int, _ name: String, stride: Int = 1
    ) throws -> Tensor {
        try graph.convolution(
            source, weight: graph.weight(name, [features, source.shape.channels, 3, 3]), bias: nil, stride: stride,
            padding: Padding(1), label: name)
    }

    /// A residual block and a feed-forward layer of four times the width.
    private func block(_ graph: Graph, _ source: Tensor, _ features: Int, _ name: String) throws -> Tensor {
        let norm = try graph.weight("\(name).norm", [source.shape.channels])
        let normed = try graph.groupNorm(source, weight: norm, bias: norm, groups: 4, epsilon: 1e-5, label: name)
        let made = try convolution(graph, graph.activation(normed, .silu, label: name), features, "\(name).first")
        let direct = try graph.linear(
            source, weight: graph.weight("\(name).short", [features, source.shape.channels]), bias: nil, label: name)
        let sum = try graph.add(try convolution(graph, made, features, "\(name).second"), direct, label: name)
        let gate = try graph.weight("\(name).gate", [8 * features, features])
        let wide = try graph.geglu(try graph.linear(sum, weight: gate, bias: nil, label: name), label: name)
        let down = try graph.weight("\(name).down", [features, 4 * features])
        return try graph.add(try graph.linear(wide, weight: down, bias: nil, label: name), sum, label: name)
    }
}
