import CalderaGraph

/// What becomes of a weight's elements before oneDNN packs them.
enum KernelArrangement: Hashable {
    /// Rows of a result of twice the source's height.
    enum Parity: CaseIterable {
        case even
        case odd
    }

    /// They stay as the file has them.
    case stored
    /// [N, C, 3, 3] -> [2N, C, 2, 2], the sums that `DoubledConvolution` wants: first the odd columns of all N channels,
    /// then the even ones. Summed in fp32.
    case doubled(Parity)
    /// [N, C] -> [N, those of the C]: what half of a joined source is multiplied with.
    case channels(Range<Int>)
    /// They stay, and the lower and the upper half of the rows are packed as two matrices, one behind the other.
    case halves

    /// How many matrices are packed.
    var parts: Int { self == .halves ? 2 : 1 }

    /// Whether the elements are those of the file.
    var isStored: Bool { self == .stored || self == .halves }

    /// Elements that come out of a weight.
    func count(_ shape: Shape) -> Int {
        switch self {
        case .stored, .halves: shape.count
        case .doubled: shape.count / 9 * 8
        case .channels(let range): shape[0] * range.count
        }
    }

    /// Writes the arranged elements of a weight, changed to the type `dtype`.
    func write(
        _ source: UnsafeRawPointer, _ stored: DType, _ shape: Shape, to destination: UnsafeMutableRawPointer,
        _ dtype: DType
    ) {
        switch self {
        case .stored, .halves: convert(source, stored, to: destination, dtype, count: shape.count)
        case .doubled(let parity): writeDoubled(parity, source, stored, shape, to: destination, dtype)
        case .channels(let range):
            Parallel.run(shape[0]) { _, row in
                convert(
                    source + (row * shape[1] + range.lowerBound) * stored.size, stored,
                    to: destination + row * range.count * dtype.size, dtype, count: range.count)
                return 0
            }
        }
    }

    private func writeDoubled(
        _ parity: Parity, _ source: UnsafeRawPointer, _ stored: DType, _ shape: Shape,
        to destination: UnsafeMutableRawPointer, _ dtype: DType
    ) {
        let (results, channels) = (shape[0], shape[1])
        Parallel.run(results) { _, index in
            withUnsafeTemporaryAllocation(of: Float.self, capacity: channels * 17) { buffer in
                guard let kernels = buffer.baseAddress else { return }
                let sums = kernels + channels * 9
                // Conversions are not spread again inside the team.
                convert(
                    source + index * channels * 9 * stored.size, stored, to: kernels, .float32, count: channels * 9)
                for channel in 0..<channels {
                    let kernel = kernels + channel * 9
                    let rows = parity == .even ? (kernel, kernel + 3, kernel + 6) : (kernel + 6, kernel + 3, kernel)
                    // One source row under a single kernel row, the other under two.
                    let (single, double) = parity == .even ? (0, 2) : (2, 0)
                    for column in 0..<3 { rows.1[column] += rows.2[column] }
                    let (odd, even) = (sums + channel * 4, sums + (channels + channel) * 4)
                    for (place, row) in [(single, rows.0), (double, rows.1)] {
                        odd[place] = row[0] + row[1]
                        odd[place + 1] = row[2]
                        even[place] = row[0]
                        even[place + 1] = row[1] + row[2]
                    }
                }
                for (half, place) in [(sums, index), (sums + channels * 4, results + index)] {
                    convert(
                        half, .float32, to: destination + place * channels * 4 * dtype.size, dtype,
                        count: channels * 4)
                }
            }
            return 0
        }
    }
}
