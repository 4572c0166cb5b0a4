import CalderaDiffusion
import Foundation
import Testing

/// What `Tools/goldens/noise.py` wrote.
private struct NoiseGoldens: Decodable {
    let streams: [PhiloxStream]
    let variations: [Variation]

    static func read() throws -> NoiseGoldens {
        try JSONDecoder().decode(NoiseGoldens.self, from: Fixture.data("noise.json"))
    }
}

private struct PhiloxStream: Decodable, CustomTestStringConvertible {
    let seed: String
    let threads: Int?
    let sizes: [Int]
    let values: String

    var testDescription: String { "seed \(seed), \(threads.map(String.init) ?? "any") threads, draws of \(sizes)" }
}

private struct Variation: Decodable, CustomTestStringConvertible {
    let seed: UInt64
    let other: UInt64
    let strength: Double
    let shape: [Int]
    let values: String

    var testDescription: String { "seeds \(seed) and \(other), strength \(strength), \(shape)" }
}

private func worstDifference(_ left: [Float], _ right: [Float]) -> Float {
    left.count == right.count ? zip(left, right).reduce(0) { max($0, abs($1.0 - $1.1)) } : .infinity
}

/// Between libraries' logarithms and sines in fp32.
private let tolerance: Float = 2e-6

@Suite struct PhiloxRandomTests {
    /// The known answers that come with Random123, the authors' library.
    @Test(
        arguments: [
            ([0, 0, 0, 0], [0, 0], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
            (
                [.max, .max, .max, .max], [.max, .max], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
            ),
            (
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], [0xa409_3822, 0x299f_31d0],
                [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
            ),
        ] as [([UInt32], [UInt32], [UInt32])])
    func givesTheKnownAnswers(counter: [UInt32], key: [UInt32], answer: [UInt32]) {
        let words = PhiloxRandom.block(counter: SIMD4(counter), key: SIMD2(key))
        #expect(words == SIMD4(answer))
    }

    /// Draws whose first values are published with the web UI or were made by its emulation.
    @Test(
        arguments: [
            (
                0, [-0.92466241, -0.42534393, -2.6438458, 0.14518386],
                [0.18082581, -0.55226266, 0.92381340, -0.73497027]
            ),
            (
                42, [0.19401887, 2.16137409, -0.17205061, 0.84906006],
                [0.13913755, -0.10821585, -0.71742201, 0.75664860]
            ),
            (
                1234, [-1.61649048, 0.56845522, -0.51022470, -0.91133940],
                [0.63308281, 1.63582182, -0.34586269, 1.01955283]
            ),
            (
                (1 << 33) + 7, [-0.28373119, -1.42132306, 0.72133166, -1.08845043],
                [0.18767911, 0.67616397, -0.06824926, -0.18669164]
            ),
        ] as [(UInt64, [Float], [Float])])
    func drawsThePublishedNumbers(seed: UInt64, first: [Float], second: [Float]) {
        var random = PhiloxRandom(seed: seed)
        #expect(worstDifference(Array(random.normal(count: 40).prefix(4)), first) <= tolerance)
        #expect(worstDifference(random.normal(count: 4), second) <= tolerance)
    }

    @Test(arguments: try NoiseGoldens.read().streams)
    fileprivate func drawsWhatTheKernelDraws(stream: PhiloxStream) throws {
        let expected = try Fixture.floats(stream.values)
        var random = PhiloxRandom(seed: try #require(UInt64(stream.seed)), threads: stream.threads)
        let drawn = stream.sizes.flatMap { random.normal(count: $0) }
        #expect(worstDifference(drawn, expected) <= tolerance)
    }

    @Test func threadsMatterToLargeDrawsOnly() {
        var (any, few) = (PhiloxRandom(seed: 3), PhiloxRandom(seed: 3, threads: 1024))
        #expect(any.normal(count: 1024) == few.normal(count: 1024))
        let (left, right) = (any.normal(count: 1025), few.normal(count: 1025))
        #expect(left.prefix(1024) == right.prefix(1024))
        #expect(left[1024] != right[1024])
    }

    @Test func anEmptyDrawLeavesTheStreamAlone() {
        var (random, fresh) = (PhiloxRandom(seed: 3), PhiloxRandom(seed: 3))
        #expect(random.normal(count: 0).isEmpty)
        #expect(random.normal(count: 5) == fresh.normal(count: 5))
        #expect(random.normal(count: 5) != PhiloxRandom(seed: 3).first(5))
    }

    @Test func sourcesGiveTheirStreams() {
        var (cpu, cuda) = (RandomSource.cpu.stream(seed: 42), RandomSource.cuda.stream(seed: 42))
        var torch = TorchRandom(seed: 42)
        #expect(cpu.normal(count: 20) == torch.normal(count: 20))
        #expect(cuda.normal(count: 20) == PhiloxRandom(seed: 42).first(20))
    }
}

extension PhiloxRandom {
    fileprivate func first(_ count: Int) -> [Float] {
        var copy = self
        return copy.normal(count: count)
    }
}

@Suite struct VariationNoiseTests {
    @Test(arguments: try NoiseGoldens.read().variations)
    fileprivate func mixesAsTheWebUIDoes(variation: Variation) throws {
        var random = TorchRandom(seed: variation.seed)
        let noise = random.normal(count: variation.shape.reduce(1, *))
        let mixed = VariationNoise(seed: variation.other, strength: variation.strength)
            .applied(to: noise, height: variation.shape[1], width: variation.shape[2], source: .cpu)
        let expected = try Fixture.floats(variation.values)
        #expect(worstDifference(mixed, expected) <= 1e-5)
    }

    @Test func noStrengthChangesNothing() {
        let noise = PhiloxRandom(seed: 5).first(96)
        let variation = VariationNoise(seed: 6, strength: 0)
        #expect(variation.applied(to: noise, height: 4, width: 6, source: .cuda) == noise)
    }

    /// A column of one value has an angle of 0 or π, which divides by zero in the web UI.
    @Test func flatPicturesStayFinite() {
        let noise = PhiloxRandom(seed: 5).first(96)
        let mixed = VariationNoise(seed: 6, strength: 0.5).applied(to: noise, height: 1, width: 24, source: .cpu)
        #expect(mixed.allSatisfy { $0.isFinite })
        #expect(mixed != noise)
    }
}
