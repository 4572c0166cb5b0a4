import CalderaGraph

/// Sums over each group of channels, gathered from the parts of all tiles that make up the picture.
struct GroupMoments {
    private let channels: Int
    private let width: Int
    private var sums: [Double]
    private var squares: [Double]
    private var pixels = 0

    init(groups: Int, channels: Int) {
        self.channels = channels
        width = channels / groups
        sums = [Double](repeating: 0, count: groups)
        squares = sums
    }

    /// Adds the rows and columns of a value [1, H, W, C] that count.
    mutating func add(_ values: [Float], shape: Shape, rows: Range<Int>, columns: Range<Int>) {
        pixels += rows.count * columns.count
        values.withUnsafeBufferPointer { values in
            for row in rows {
                for column in columns { addPixel(values, at: (row * shape[2] + column) * channels) }
            }
        }
    }

    private mutating func addPixel(_ values: UnsafeBufferPointer<Float>, at start: Int) {
        for group in sums.indices {
            var (sum, square) = (Float(0), Float(0))
            for element in values[(start + group * width)..<(start + (group + 1) * width)] {
                sum += element
                square += element * element
            }
            sums[group] += Double(sum)
            squares[group] += Double(square)
        }
    }

    /// (x - mean) / sqrt(variance + ε) · scale + shift as a factor and an offset for each channel.
    func norm(scale: [Float], shift: [Float], epsilon: Float) -> ChannelAffine {
        let count = Double(max(1, pixels * width))
        let means = sums.map { $0 / count }
        let variances = zip(squares, means).map { max(0, $0 / count - $1 * $1) }
        let factors = scale.indices.map { channel in
            scale[channel] * Float(1 / (variances[channel / width] + Double(epsilon)).squareRoot())
        }
        let offsets = shift.indices.map { shift[$0] - Float(means[$0 / width]) * factors[$0] }
        return ChannelAffine(factors: factors, offsets: offsets)
    }
}

/// x · factor + offset, channel by channel.
struct ChannelAffine {
    let factors: [Float]
    let offsets: [Float]

    func apply(to values: inout [Float]) {
        let channels = factors.count
        guard channels > 0 else { return }
        values.withUnsafeMutableBufferPointer { values in
            for start in stride(from: 0, to: values.count, by: channels) {
                for channel in 0..<channels {
                    values[start + channel] = values[start + channel] * factors[channel] + offsets[channel]
                }
            }
        }
    }
}
