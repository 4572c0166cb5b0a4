import CalderaDiffusion
import Foundation
import Testing

/// A generator's seed, the sizes of its consecutive draws and what torch drew.
private struct TorchStream: Decodable, CustomTestStringConvertible {
    let seed: String
    let sizes: [Int]
    let values: String

    var testDescription: String { "seed \(seed), draws of \(sizes)" }

    static func all() throws -> [TorchStream] {
        struct File: Decodable {
            let streams: [TorchStream]
        }
        return try JSONDecoder().decode(File.self, from: Fixture.data("random.json")).streams
    }
}

/// Torch's vectorised logarithm and cosine differ from the C library's by at most 4.8e-7.
private let tolerance: Float = 2e-6

private func worstDifference(_ left: [Float], _ right: [Float]) -> Float {
    zip(left, right).reduce(0) { max($0, abs($1.0 - $1.1)) }
}

@Suite struct TorchRandomTests {
    @Test(arguments: try TorchStream.all())
    fileprivate func drawsWhatTorchDraws(stream: TorchStream) throws {
        let expected = try Fixture.floats(stream.values)
        var random = TorchRandom(seed: try #require(UInt64(stream.seed)))
        let drawn = stream.sizes.flatMap { random.normal(count: $0) }
        #expect(drawn.count == expected.count)
        #expect(worstDifference(drawn, expected) <= tolerance)
    }

    @Test(
        arguments: [
            (0, [-1.12583983, -1.15236020, -0.25057858, -0.43387881], -124.11269990, [-1.36646974, -1.07820797]),
            (42, [1.92691529, 1.48728406, 0.90071720, -2.10552096], 149.76480044, [0.97280973, -0.29340610]),
            (1234, [-0.11171857, -0.49659011, 0.16307370, -0.88168776], -6.56993373, [0.54430950, 1.57986307]),
        ] as [(UInt64, [Float], Double, [Float])])
    func drawsTheLatentOfStableDiffusion(seed: UInt64, first: [Float], sum: Double, last: [Float]) {
        var random = TorchRandom(seed: seed)
        let latent = random.normal(count: 4 * 64 * 64)
        #expect(worstDifference(Array(latent.prefix(4)), first) <= tolerance)
        #expect(worstDifference(Array(latent.suffix(2)), last) <= tolerance)
        #expect(abs(latent.reduce(0) { $0 + Double($1) } - sum) <= 1e-3)
    }

    @Test func onlyTheLow32BitsOfTheSeedMatter() {
        var small = TorchRandom(seed: 5)
        var large = TorchRandom(seed: (1 << 32) + 5)
        var other = TorchRandom(seed: 6)
        let drawn = small.normal(count: 40)
        #expect(drawn == large.normal(count: 40))
        #expect(drawn != other.normal(count: 40))
    }

    @Test func aCopyContinuesTheSameStream() {
        var random = TorchRandom(seed: 9)
        _ = random.normal(count: 3)
        var copy = random
        #expect(random.normal(count: 700) == copy.normal(count: 700))
        #expect(random.normal(count: 1) == copy.normal(count: 1))
    }

    @Test func anEmptyDrawLeavesTheStreamAlone() {
        var random = TorchRandom(seed: 3)
        var fresh = random
        #expect(random.normal(count: 0).isEmpty)
        #expect(random.normal(count: 5) == fresh.normal(count: 5))
    }
}
