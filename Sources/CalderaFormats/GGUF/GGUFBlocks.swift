/// Unpacks quantised blocks to fp32.
/// Reference: ggml's `ggml-quants.c`, `dequantize_row_*`; blocks are described in `ggml-common.h`.
enum GGUFBlocks {
    /// Writes all elements of `source`, which holds whole blocks, to `target`.
    static func unpack(_ source: UnsafeRawBufferPointer, _ type: GGUFType, to target: UnsafeMutablePointer<Float>) {
        guard let base = source.baseAddress else { return }
        for index in 0..<source.count / type.blockSize {
            let block = Block(base: base + index * type.blockSize)
            let values = target + index * type.blockCount
            switch type {
            case .f32: values[0] = Float(bitPattern: UInt32(block.half(0)) | UInt32(block.half(2)) << 16)
            case .f16: values[0] = block.float(0)
            case .bf16: values[0] = Float(bitPattern: UInt32(block.half(0)) << 16)
            case .q8x0: q8(block, values)
            case .q4x0: q4(block, values, scale: block.float(0), least: nil, at: 2)
            case .q4x1: q4(block, values, scale: block.float(0), least: block.float(2), at: 4)
            case .q5x0: q5(block, values, scale: block.float(0), least: nil, at: 2)
            case .q5x1: q5(block, values, scale: block.float(0), least: block.float(2), at: 4)
            case .q4K: q4K(block, values)
            case .q5K: q5K(block, values)
            case .q6K: q6K(block, values)
            }
        }
    }

    private struct Block {
        let base: UnsafeRawPointer

        @inline(__always)
        func byte(_ offset: Int) -> Int { Int(base.load(fromByteOffset: offset, as: UInt8.self)) }
        @inline(__always)
        func signed(_ offset: Int) -> Int { Int(base.load(fromByteOffset: offset, as: Int8.self)) }
        @inline(__always)
        func half(_ offset: Int) -> UInt16 {
            UInt16(littleEndian: base.loadUnaligned(fromByteOffset: offset, as: UInt16.self))
        }
        @inline(__always)
        func float(_ offset: Int) -> Float { Float(Float16(bitPattern: half(offset))) }
    }

    private static func q8(_ block: Block, _ values: UnsafeMutablePointer<Float>) {
        let scale = block.float(0)
        for index in 0..<32 { values[index] = Float(block.signed(2 + index)) * scale }
    }

    /// The low halves of 16 bytes, then the high ones; round 8, or from `least` up.
    private static func q4(
        _ block: Block, _ values: UnsafeMutablePointer<Float>, scale: Float, least: Float?, at start: Int
    ) {
        let centre = least == nil ? 8 : 0
        for index in 0..<16 {
            let byte = block.byte(start + index)
            values[index] = Float((byte & 15) - centre) * scale + (least ?? 0)
            values[index + 16] = Float((byte >> 4) - centre) * scale + (least ?? 0)
        }
    }

    /// As four bits, with the fifth of all elements in four bytes before them.
    private static func q5(
        _ block: Block, _ values: UnsafeMutablePointer<Float>, scale: Float, least: Float?, at start: Int
    ) {
        let centre = least == nil ? 16 : 0
        let high = Int(block.half(start)) | Int(block.half(start + 2)) << 16
        for index in 0..<16 {
            let byte = block.byte(start + 4 + index)
            let (first, second) = ((high >> index & 1) << 4, (high >> (index + 16) & 1) << 4)
            values[index] = Float((byte & 15 | first) - centre) * scale + (least ?? 0)
            values[index + 16] = Float((byte >> 4 | second) - centre) * scale + (least ?? 0)
        }
    }

    /// The six-bit scale and minimum of group `index` of eight, packed into the twelve bytes from byte 4 on.
    private static func scales(_ block: Block, _ index: Int) -> (scale: Float, least: Float) {
        let (scale, least) =
            index < 4
            ? (block.byte(4 + index) & 63, block.byte(8 + index) & 63)
            : (
                block.byte(8 + index) & 15 | (block.byte(index) >> 6) << 4,
                block.byte(8 + index) >> 4 | (block.byte(4 + index) >> 6) << 4
            )
        return (block.float(0) * Float(scale), block.float(2) * Float(least))
    }

    private static func q4K(_ block: Block, _ values: UnsafeMutablePointer<Float>) {
        for pair in 0..<4 {
            let (low, high) = (scales(block, 2 * pair), scales(block, 2 * pair + 1))
            for index in 0..<32 {
                let byte = block.byte(16 + 32 * pair + index)
                values[64 * pair + index] = low.scale * Float(byte & 15) - low.least
                values[64 * pair + 32 + index] = high.scale * Float(byte >> 4) - high.least
            }
        }
    }

    private static func q5K(_ block: Block, _ values: UnsafeMutablePointer<Float>) {
        for pair in 0..<4 {
            let (low, high) = (scales(block, 2 * pair), scales(block, 2 * pair + 1))
            for index in 0..<32 {
                let (byte, fifths) = (block.byte(48 + 32 * pair + index), block.byte(16 + index))
                let (first, second) = ((fifths >> (2 * pair) & 1) << 4, (fifths >> (2 * pair + 1) & 1) << 4)
                values[64 * pair + index] = low.scale * Float(byte & 15 | first) - low.least
                values[64 * pair + 32 + index] = high.scale * Float(byte >> 4 | second) - high.least
            }
        }
    }

    private static func q6K(_ block: Block, _ values: UnsafeMutablePointer<Float>) {
        let scale = block.float(208)
        for index in 0..<256 {
            // Halves of 128; in each, four rows of 32 share 64 bytes of low bits and 32 of high ones.
            let (half, row, column) = (index / 128, index % 128 / 32, index % 32)
            let low = block.byte(64 * half + 32 * (row % 2) + column) >> (4 * (row / 2)) & 15
            let high = block.byte(128 + 32 * half + column) >> (2 * row) & 3
            let group = scale * Float(block.signed(192 + index / 16))
            values[index] = group * Float((low | high << 4) - 32)
        }
    }
}
