import CalderaGraph

/// How a weight lies in device memory.
enum Packing: Hashable {
    /// As in the file.
    case plain
    /// A convolution's [N, C, kh, kw] as [N, kh, kw, C]: the order in which the kernel walks over its source.
    case channelsLast
    /// The two halves of a matrix's rows in turns: row 2i is row i of the file, row 2i + 1 is row i of its upper half.
    /// For gated products.
    case interleaved
}

/// Packs a weight piece by piece, a piece being some of the entries of its outermost axis.
struct WeightPacker {
    let source: UnsafeRawBufferPointer
    let sourceType: DType
    let targetType: DType
    let packing: Packing
    /// Under PyTorch.
    let shape: Shape

    var rows: Int { shape.rank == 0 ? 1 : shape[0] }
    var rowCount: Int { rows == 0 ? 0 : shape.count / rows }
    var rowBytes: Int { rowCount * targetType.size }

    /// Writes entries `range` to `target`. True unless a finite number became infinite.
    func pack(_ range: Range<Int>, to target: UnsafeMutableRawPointer) -> Bool {
        guard let base = source.baseAddress, !range.isEmpty else { return true }
        let start = base + range.lowerBound * rowCount * sourceType.size
        let count = range.count * rowCount
        guard isReordered else {
            return ElementConversion.convert(start, sourceType, to: target, targetType, count: count)
        }
        let reordered = UnsafeMutableRawPointer.allocate(byteCount: count * sourceType.size, alignment: 16)
        defer { reordered.deallocate() }
        if packing == .interleaved {
            interleave(range, from: base, to: reordered)
        } else if sourceType.size == 2 {
            reorder(start, to: reordered, entries: range.count, as: UInt16.self)
        } else {
            reorder(start, to: reordered, entries: range.count, as: UInt32.self)
        }
        return ElementConversion.convert(reordered, sourceType, to: target, targetType, count: count)
    }

    private var isReordered: Bool {
        switch packing {
        case .plain: false
        case .channelsLast: shape.rank == 4 && shape[2] * shape[3] > 1
        case .interleaved: true
        }
    }

    /// Rows `range` of the result.
    private func interleave(_ range: Range<Int>, from: UnsafeRawPointer, to: UnsafeMutableRawPointer) {
        let size = rowCount * sourceType.size
        for row in range {
            let stored = row / 2 + (row.isMultiple(of: 2) ? 0 : rows / 2)
            (to + (row - range.lowerBound) * size).copyMemory(from: from + stored * size, byteCount: size)
        }
    }

    /// [entries, channels, taps] to [entries, taps, channels].
    private func reorder<Element: FixedWidthInteger>(
        _ from: UnsafeRawPointer, to: UnsafeMutableRawPointer, entries: Int, as: Element.Type
    ) {
        let (channels, taps, size) = (shape[1], shape[2] * shape[3], MemoryLayout<Element>.size)
        for entry in 0..<entries {
            let start = entry * channels * taps
            for tap in 0..<taps {
                for channel in 0..<channels {
                    let element = from.loadUnaligned(
                        fromByteOffset: (start + channel * taps + tap) * size, as: Element.self)
                    to.storeBytes(
                        of: element, toByteOffset: (start + tap * channels + channel) * size, as: Element.self)
                }
            }
        }
    }
}
