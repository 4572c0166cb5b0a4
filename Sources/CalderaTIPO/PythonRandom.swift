/// Python's `random` module: the Mersenne Twister MT19937 of Matsumoto and Nishimura (1998), with CPython's seeding
/// from an integer and its ways to integers and orders.
package struct PythonRandom: Sendable {
    private static let size = 624
    private var state = [UInt32](repeating: 0, count: size)
    private var position = size

    /// `random.seed(seed)`.
    package init(seed: UInt64) {
        let high = UInt32(truncatingIfNeeded: seed >> 32)
        let low = UInt32(truncatingIfNeeded: seed)
        initialize(key: high == 0 ? [low] : [low, high])
    }

    /// `random.shuffle(items)`.
    package mutating func shuffle<Item>(_ items: inout [Item]) {
        for last in items.indices.dropFirst().reversed() {
            items.swapAt(last, Int(below(UInt64(last) + 1)))
        }
    }

    /// `random.randint(0, most)`.
    package mutating func integer(through most: UInt64) -> UInt64 { below(most + 1) }

    /// A number below `bound`: bits are drawn until they write one.
    private mutating func below(_ bound: UInt64) -> UInt64 {
        let bits = UInt64.bitWidth - bound.leadingZeroBitCount
        while true {
            let number = draw(bits: bits)
            if number < bound { return number }
        }
    }

    /// `random.getrandbits(bits)`, up to 64: the low word first, the last one cut from above.
    private mutating func draw(bits: Int) -> UInt64 {
        guard bits > 32 else { return UInt64(next() >> UInt32(32 - bits)) }
        let low = UInt64(next())
        return low | UInt64(next() >> UInt32(64 - bits)) << 32
    }

    private mutating func next() -> UInt32 {
        if position == Self.size { twist() }
        var word = state[position]
        position += 1
        word ^= word >> 11
        word ^= word << 7 & 0x9D2C_5680
        word ^= word << 15 & 0xEFC6_0000
        return word ^ word >> 18
    }

    private mutating func twist() {
        for index in 0..<Self.size {
            let joined = state[index] & 0x8000_0000 | state[(index + 1) % Self.size] & 0x7FFF_FFFF
            state[index] = state[(index + 397) % Self.size] ^ joined >> 1 ^ (joined & 1) &* 0x9908_B0DF
        }
        position = 0
    }

    /// `init_by_array` of the generator's reference implementation.
    private mutating func initialize(key: [UInt32]) {
        state[0] = 19_650_218
        for index in 1..<Self.size { state[index] = 1_812_433_253 &* mixed(index) &+ UInt32(index) }
        var (index, item) = (1, 0)
        for _ in 0..<Self.size {
            state[index] = (state[index] ^ mixed(index) &* 1_664_525) &+ key[item] &+ UInt32(item)
            advance(&index)
            item = (item + 1) % key.count
        }
        for _ in 1..<Self.size {
            state[index] = (state[index] ^ mixed(index) &* 1_566_083_941) &- UInt32(index)
            advance(&index)
        }
        state[0] = 0x8000_0000
    }

    private func mixed(_ index: Int) -> UInt32 { state[index - 1] ^ state[index - 1] >> 30 }

    private mutating func advance(_ index: inout Int) {
        index += 1
        if index == Self.size {
            state[0] = state[Self.size - 1]
            index = 1
        }
    }
}
