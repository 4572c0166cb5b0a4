import Foundation

/// The random stream of `torch.Generator("cpu")`: MT19937, and `torch.randn` in fp32 on top of it.
///
/// A picture matches the one another program makes from the same seed only if the noise does, so this follows torch
/// draw by draw: which 32-bit words a call consumes, in what order, and in what precision they become normals.
/// Torch's vectorised logarithm and cosine differ from the C library's by at most 5e-7 absolute, and so do the values.
///
/// Sources: Matsumoto and Nishimura, "Mersenne Twister" (1998); torch's `MT19937RNGEngine.h` and
/// `DistributionTemplates.h` for how the words are used.
package struct TorchRandom: Sendable {
    private static let stateSize = 624
    private static let shift = 397
    /// Torch transforms contiguous tensors of at least this many elements in blocks of this many.
    private static let block = 16

    private var state: [UInt32]
    private var next: Int
    /// The sine half of the last Box-Muller pair that a small draw made and did not use; it outlives the call.
    private var cachedNormal: Double?

    /// Starts the stream as `torch.Generator("cpu").manual_seed(seed)` does; only the low 32 bits of the seed matter.
    package init(seed: UInt64) {
        var word = UInt32(truncatingIfNeeded: seed)
        state = [word]
        state.reserveCapacity(Self.stateSize)
        for index in 1..<Self.stateSize {
            word = 1_812_433_253 &* (word ^ (word >> 30)) &+ UInt32(index)
            state.append(word)
        }
        next = Self.stateSize
    }

    /// Draws what `torch.randn(count)` draws in fp32. The shape does not matter to torch, only the number of elements.
    package mutating func normal(count: Int) -> [Float] {
        precondition(count >= 0, "cannot draw \(count) normals")
        return count < Self.block ? smallDraw(count: count) : blockedDraw(count: count)
    }

    /// Draws what `torch.empty(1).exponential_()` draws in fp32, and so `torch.multinomial`: -log(1 - u). Torch builds with
    /// Intel's MKL draw other numbers where they run on Intel's processors.
    package mutating func exponential() -> Float { Float(-log1p(-uniformDouble())) }

    /// Passes over what `exponential` would draw.
    package mutating func skipExponential() { _ = uniformDouble() }

    // MARK: - Normals

    /// Fewer than 16 elements: pairs in fp64, cosine first, the sine kept for the next element.
    private mutating func smallDraw(count: Int) -> [Float] {
        (0..<count).map { _ in
            if let cached = cachedNormal {
                cachedNormal = nil
                return Float(cached)
            }
            let angle = 2 * Double.pi * uniformDouble()
            let radius = (-2 * log1p(-uniformDouble())).squareRoot()
            cachedNormal = radius * sin(angle)
            return Float(radius * cos(angle))
        }
    }

    /// 16 elements or more: uniforms for all of them first, then each block of 16 becomes normals in place.
    /// A remainder is covered by drawing the last 16 elements anew, over a part of the block before.
    private mutating func blockedDraw(count: Int) -> [Float] {
        var values = (0..<count).map { _ in uniformFloat() }
        for start in stride(from: 0, through: count - Self.block, by: Self.block) {
            Self.transform(&values, at: start)
        }
        if count % Self.block != 0 {
            let start = count - Self.block
            for index in start..<count { values[index] = uniformFloat() }
            Self.transform(&values, at: start)
        }
        return values
    }

    /// Box-Muller on one block: element j pairs with element j + 8.
    private static func transform(_ values: inout [Float], at start: Int) {
        let half = block / 2
        for index in start..<start + half {
            // 1 - u lies in (0, 1], so the logarithm is finite.
            let radius = (-2 * log(1 - values[index])).squareRoot()
            let angle = 2 * Float.pi * values[index + half]
            values[index] = radius * cos(angle)
            values[index + half] = radius * sin(angle)
        }
    }

    // MARK: - Uniforms

    /// In [0, 1), from the low 24 bits of one word.
    private mutating func uniformFloat() -> Float {
        Float(nextWord() & 0xFF_FFFF) * 0x1p-24
    }

    /// In [0, 1), from the low 53 bits of two words, the first of which is the high one.
    private mutating func uniformDouble() -> Double {
        let high = UInt64(nextWord()) << 32
        return Double((high | UInt64(nextWord())) & 0x1F_FFFF_FFFF_FFFF) * 0x1p-53
    }

    // MARK: - MT19937

    private mutating func nextWord() -> UInt32 {
        if next == Self.stateSize { regenerate() }
        var word = state[next]
        next += 1
        word ^= word >> 11
        word ^= (word << 7) & 0x9D2C_5680
        word ^= (word << 15) & 0xEFC6_0000
        return word ^ (word >> 18)
    }

    private mutating func regenerate() {
        let size = Self.stateSize
        state.withUnsafeMutableBufferPointer { words in
            for index in 0..<size {
                let following = words[index + 1 == size ? 0 : index + 1]
                let mixed = (words[index] & 0x8000_0000) | (following & 0x7FFF_FFFF)
                let partner = index + Self.shift
                let twist = (mixed >> 1) ^ (following & 1 == 0 ? 0 : 0x9908_B0DF)
                words[index] = words[partner < size ? partner : partner - size] ^ twist
            }
        }
        next = 0
    }
}
