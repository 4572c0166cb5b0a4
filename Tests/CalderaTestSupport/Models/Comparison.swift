import CalderaGraph
import Foundation

/// ||value - reference|| / ||reference|| over all elements, in fp64: the measure of the exactness tests.
/// Infinite when the shapes differ, when an element is not finite, or when an all-zero reference is not met.
package func relativeL2(_ value: HostTensor, _ reference: HostTensor) -> Double {
    guard value.shape == reference.shape else { return .infinity }
    var difference = 0.0
    var norm = 0.0
    for (one, other) in zip(value.floats, reference.floats) {
        difference += (Double(one) - Double(other)) * (Double(one) - Double(other))
        norm += Double(other) * Double(other)
    }
    guard difference.isFinite, norm.isFinite else { return .infinity }
    if difference == 0 { return 0 }
    return norm == 0 ? .infinity : (difference / norm).squareRoot()
}

/// The peak signal-to-noise ratio, in dB, of two pictures of 8-bit samples: 10 log10(255^2 / mean squared error).
/// Infinite for equal pictures; minus infinity when their sizes differ or they are empty.
package func psnr(_ value: [UInt8], _ reference: [UInt8]) -> Double {
    guard value.count == reference.count, !value.isEmpty else { return -.infinity }
    let squares = zip(value, reference).reduce(0) { sum, pair in
        let difference = Int(pair.0) - Int(pair.1)
        return sum + difference * difference
    }
    if squares == 0 { return .infinity }
    return 10 * log10(255 * 255 * Double(value.count) / Double(squares))
}

extension HostTensor {
    /// [batch, channels, height, width], as PyTorch has it, to [batch, height, width, channels], as the engine has it.
    package func channelsLast() -> HostTensor {
        precondition(shape.rank == 4, "\(shape) is not [batch, channels, height, width]")
        let (batch, channels, pixels) = (shape[0], shape[1], shape[2] * shape[3])
        let moved = Self.transposed(floats, matrices: batch, rows: channels, columns: pixels)
        return HostTensor([batch, shape[2], shape[3], channels], moved)
    }

    /// [batch, height, width, channels] to [batch, channels, height, width].
    package func channelsFirst() -> HostTensor {
        precondition(shape.rank == 4, "\(shape) is not [batch, height, width, channels]")
        let (batch, pixels, channels) = (shape[0], shape[1] * shape[2], shape[3])
        let moved = Self.transposed(floats, matrices: batch, rows: pixels, columns: channels)
        return HostTensor([batch, channels, shape[1], shape[2]], moved)
    }

    private static func transposed(_ values: [Float], matrices: Int, rows: Int, columns: Int) -> [Float] {
        var result: [Float] = []
        result.reserveCapacity(values.count)
        for matrix in 0..<matrices {
            let start = matrix * rows * columns
            for column in 0..<columns {
                for row in 0..<rows { result.append(values[start + row * columns + column]) }
            }
        }
        return result
    }
}
