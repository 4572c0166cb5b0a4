import Foundation

/// The random stream of `torch.Generator("cuda")`: Philox4x32-10, and `torch.randn` in fp32 on top of it.
///
/// A GPU draws with one counter for each of its threads, so that beyond as many numbers as it has threads the values
/// depend on the GPU. Without `threads` every number has a thread of its own, as in the web UI's emulation ("NV"): then
/// draws of up to the GPU's number of threads are the same (65,536 numbers, an SDXL picture of 1024x1024, on every GPU with
/// 32 multiprocessors of 2048 threads or more).
///
/// Sources: Salmon, Moraes, Dror and Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3" (2011) for Philox; torch's
/// `DistributionTemplates.h` (CUDA) and cuRAND's `curand_normal.h` for how its words become normals.
package struct PhiloxRandom: Sendable {
    /// A counter or a block of four words.
    package typealias Words = SIMD4<UInt32>

    /// Numbers that a thread of torch's kernel makes of one block.
    private static let unroll = 4
    /// Threads in a block of torch's kernel, of which it starts no more than it needs.
    private static let workgroup = 256

    private let key: SIMD2<UInt32>
    private let threads: Int?
    /// The low words of the next call's counter.
    private var offset: UInt64 = 0

    /// Starts the stream as `torch.Generator("cuda").manual_seed(seed)` does; all 64 bits of the seed matter.
    /// - Parameter threads: multiprocessors times threads of each, to be exact for large draws on one GPU (an A100 has
    ///   108·2048), at least 256.
    package init(seed: UInt64, threads: Int? = nil) {
        precondition(threads.map { $0 >= Self.workgroup } ?? true, "no GPU has fewer than \(Self.workgroup) threads")
        key = SIMD2(UInt32(truncatingIfNeeded: seed), UInt32(truncatingIfNeeded: seed >> 32))
        self.threads = threads
    }

    /// Draws what `torch.randn(count, device="cuda")` draws in fp32. The shape does not matter, only the number of elements.
    package mutating func normal(count: Int) -> [Float] {
        precondition(count >= 0, "cannot draw \(count) normals")
        if count == 0 { return [] }
        let needed = (count + Self.workgroup - 1) / Self.workgroup * Self.workgroup
        let active = min(needed, (threads ?? needed) / Self.workgroup * Self.workgroup)
        let rounds = (count - 1) / (active * Self.unroll) + 1
        defer { offset &+= UInt64(rounds) }
        // In each round a thread makes four numbers, which lie as far apart as there are threads.
        var values = [Float](repeating: 0, count: count)
        for round in 0..<rounds {
            let first = round * active * Self.unroll
            for thread in 0..<min(active, count - first) {
                let four = Self.normals(Self.block(counter: counter(thread, round), key: key))
                for part in 0..<Self.unroll where first + part * active + thread < count {
                    values[first + part * active + thread] = four[part]
                }
            }
        }
        return values
    }

    private func counter(_ thread: Int, _ round: Int) -> Words {
        let place = offset &+ UInt64(round)
        return Words(
            UInt32(truncatingIfNeeded: place), UInt32(truncatingIfNeeded: place >> 32),
            UInt32(truncatingIfNeeded: thread), UInt32(truncatingIfNeeded: thread >> 32))
    }

    /// Philox4x32 of ten rounds: four random words for each counter.
    package static func block(counter: Words, key: SIMD2<UInt32>) -> Words {
        var (words, key) = (counter, key)
        for _ in 0..<10 {
            let first = (0xD251_1F53 as UInt32).multipliedFullWidth(by: words[0])
            let second = (0xCD9E_8D57 as UInt32).multipliedFullWidth(by: words[2])
            words = Words(
                second.high ^ words[1] ^ key[0], second.low, first.high ^ words[3] ^ key[1], first.low)
            key &+= SIMD2(0x9E37_79B9, 0xBB67_AE85)
        }
        return words
    }

    /// Two Box-Muller pairs, the sine first.
    private static func normals(_ words: Words) -> SIMD4<Float> {
        let (first, second) = (pair(words[0], words[1]), pair(words[2], words[3]))
        return SIMD4(first.0, first.1, second.0, second.1)
    }

    private static func pair(_ left: UInt32, _ right: UInt32) -> (Float, Float) {
        let unit: Float = 0x1p-32
        let turn = unit * 2 * Float.pi
        // Half a unit from both ends, so that the logarithm is finite.
        let radius = (-2 * log(Float(left) * unit + unit / 2)).squareRoot()
        let angle = Float(right) * turn + turn / 2
        return (radius * sin(angle), radius * cos(angle))
    }
}
