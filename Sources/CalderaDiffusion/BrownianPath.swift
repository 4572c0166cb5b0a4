import Foundation

/// A stretch of a Brownian path over noise levels, whose scaled increment serves as the noise of a sampling step.
package struct BrownianSpan: Sendable, Equatable {
    /// The ends of the whole path, the lower one first.
    package struct Path: Sendable, Equatable {
        package let low: Double
        package let high: Double

        init(from low: Double, to high: Double) {
            self.low = low
            self.high = high
        }
    }

    package let path: Path
    /// The higher end of the stretch, where the step starts.
    package let from: Double
    package let to: Double

    init(path: Path, from: Double, to: Double) {
        self.path = path
        self.from = from
        self.to = to
    }
}

/// A Brownian path that depends on its seed alone, whatever stretches of it are asked for and in which order: the middle
/// of each interval is drawn from a stream of its own, halving down to steps of 1e-6.
///
/// Reproduces `BrownianTreeNoiseSampler` of diffusers and k-diffusion with a CPU seed, on torchsde's `BrownianInterval`
/// with `halfway_tree`, a tolerance of 1e-6 and a pool of 24 words. One path serves one picture.
package struct BrownianPath {
    private let seed: UInt64
    private let count: Int
    private let path: BrownianSpan.Path
    /// W at the ends of the last stretch: the stretches of a loop share them.
    private var positions: [Double: [Double]] = [:]

    /// - Parameters:
    ///   - seed: of the picture (diffusers `noise_sampler_seed`).
    ///   - count: values of the noise, in torch's order.
    package init(seed: UInt64, count: Int, path: BrownianSpan.Path) {
        self.seed = seed
        self.count = count
        self.path = path
    }

    /// The increment over a stretch divided by the root of its length: standard normal noise. Falling σ is the negative
    /// direction of the path.
    package mutating func noise(over span: BrownianSpan) -> [Float] {
        let start = positions[span.from] ?? position(at: span.from)
        let end = positions[span.to] ?? position(at: span.to)
        positions = [span.from: start, span.to: end]
        let scale = 1 / (span.from - span.to).magnitude.squareRoot()
        return zip(start, end).map { Float(($1 - $0) * scale) }
    }

    /// W(t) with W(low) = 0.
    private func position(at time: Double) -> [Double] {
        let whole = draw(depth: nil, node: 0).map { Double($0) * (path.high - path.low).squareRoot() }
        var (start, end) = (Self.rounded(path.low), Self.rounded(path.high))
        let target = Self.rounded(time)
        if target <= start { return [Double](repeating: 0, count: count) }
        if target >= end { return whole }
        var (before, increment) = ([Double](repeating: 0, count: count), whole)
        var (depth, node) = (UInt32(0), UInt32(0))
        while true {
            let middle = Self.rounded(0.5 * (end + start))
            let left = leftPart(of: increment, (start, middle, end), draw(depth: depth, node: node))
            if target == middle { return zip(before, left).map(+) }
            if target < middle {
                (increment, end, node) = (left, middle, 2 * node)
            } else {
                before = zip(before, left).map(+)
                (increment, start, node) = (zip(increment, left).map(-), middle, 2 * node + 1)
            }
            depth += 1
        }
    }

    /// The Brownian bridge: the increment up to the middle, given that of the whole.
    private func leftPart(
        of increment: [Double], _ times: (start: Double, middle: Double, end: Double), _ noise: [Float]
    ) -> [Double] {
        let (left, right) = (times.middle - times.start, times.end - times.middle)
        let share = left / (times.end - times.start)
        let deviation = (share * right).squareRoot()
        return zip(increment, noise).map { share * $0 + deviation * Double($1) }
    }

    /// The noise of a node of the tree of intervals; without a depth that of the whole.
    private func draw(depth: UInt32?, node: UInt32) -> [Float] {
        let spawnKey = depth.map { [node, $0] } ?? []
        let words = SeedSequence(entropy: seed, spawnKey: spawnKey, poolSize: 24)
        var random = TorchRandom(seed: UInt64(words.firstWord))
        return random.normal(count: count)
    }

    /// Rounded to six decimals as Python's `round` does, which looks at the exact value of the binary number.
    private static func rounded(_ value: Double) -> Double {
        let scaled = value * 1e6
        let rest = (-scaled).addingProduct(value, 1e6)
        var whole = scaled.rounded(.toNearestOrEven)
        // A tie that is none before the product was rounded.
        if scaled - whole == 0.5, rest > 0 { whole += 1 }
        if scaled - whole == -0.5, rest < 0 { whole -= 1 }
        return whole / 1e6
    }
}

/// numpy's `SeedSequence`: hashes a seed and a key of a node in a tree of streams into random words (after Melissa
/// O'Neill's `seed_seq_fe`, numpy `bit_generator.pyx`).
struct SeedSequence {
    private let pool: [UInt32]

    /// - Parameter spawnKey: which of the streams below `entropy`; none for its own.
    init(entropy: UInt64, spawnKey: [UInt32], poolSize: Int) {
        var words = [UInt32(truncatingIfNeeded: entropy)]
        if entropy >> 32 != 0 { words.append(UInt32(entropy >> 32)) }
        if !spawnKey.isEmpty {
            words += [UInt32](repeating: 0, count: max(0, poolSize - words.count)) + spawnKey
        }
        var hash = Hash(constant: 0x43B0_D7E5, multiplier: 0x931E_8875)
        var pool = (0..<poolSize).map { hash.apply($0 < words.count ? words[$0] : 0) }
        for source in 0..<poolSize {
            for target in 0..<poolSize where target != source {
                pool[target] = Self.mixed(pool[target], hash.apply(pool[source]))
            }
        }
        for word in words.dropFirst(poolSize) {
            for target in 0..<poolSize { pool[target] = Self.mixed(pool[target], hash.apply(word)) }
        }
        self.pool = pool
    }

    /// The first word of `generate_state`.
    var firstWord: UInt32 {
        var hash = Hash(constant: 0x8B51_F9DD, multiplier: 0x58F3_8DED)
        return hash.apply(pool[0])
    }

    private static func mixed(_ left: UInt32, _ right: UInt32) -> UInt32 {
        let result = 0xCA01_F9DD &* left &- 0x4973_F715 &* right
        return result ^ (result >> 16)
    }

    private struct Hash {
        var constant: UInt32
        let multiplier: UInt32

        mutating func apply(_ word: UInt32) -> UInt32 {
            var value = word ^ constant
            constant = constant &* multiplier
            value = value &* constant
            return value ^ (value >> 16)
        }
    }
}
