import CalderaDiffusion
import CalderaGraph
import Foundation
import Testing

/// That the values are torchsde's, the golden tables of DPMSolverSDEScheduler prove.
@Suite struct BrownianPathTests {
    private let spans: [BrownianSpan]
    private let path: BrownianSpan.Path

    init() throws {
        let config = try SchedulerConfig(json: Data("{}".utf8), path: "scheduler_config.json")
        let schedule = try SchedulerRegistry.make(name: "dpmpp_sde", config: config).schedule(steps: 6)
        spans = schedule.steps.compactMap(\.brownian)
        path = try #require(spans.first?.path)
    }

    @Test func dependsOnTheSeedAlone() {
        var (forwards, backwards) = (
            BrownianPath(seed: 7, count: 20, path: path), BrownianPath(seed: 7, count: 20, path: path)
        )
        let inOrder = spans.map { forwards.noise(over: $0) }
        let reversed = spans.reversed().map { backwards.noise(over: $0) }
        #expect(inOrder == reversed.reversed())
        var other = BrownianPath(seed: 8, count: 20, path: path)
        #expect(other.noise(over: spans[0]) != inOrder[0])
        var high = BrownianPath(seed: 7 + 1 << 32, count: 20, path: path)
        #expect(high.noise(over: spans[0]) != inOrder[0], "all 64 bits of the seed count")
    }

    /// Both evaluations of a step look at one path: the noise of the first half is a part of the whole's.
    @Test func halvesShareThePathOfTheStep() {
        var path = BrownianPath(seed: 7, count: 20_000, path: path)
        let (half, whole) = (path.noise(over: spans[0]), path.noise(over: spans[1]))
        let expected = ((spans[0].from - spans[0].to) / (spans[1].from - spans[1].to)).squareRoot()
        let correlation = zip(half, whole).map { Double($0 * $1) }.reduce(0, +) / 20_000
        #expect(abs(correlation - expected) < 0.03)
        let variance = whole.map { Double($0 * $0) }.reduce(0, +) / 20_000
        #expect(abs(variance - 1) < 0.05)
    }
}
