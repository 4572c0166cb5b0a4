import Foundation

/// Resizing of 8-bit pictures with Lanczos' filter of three lobes, to the bit as Pillow's `Image.resize(LANCZOS)` does it,
/// since diffusers prepares pictures with that: rows first, then columns, sums in 22-bit fixed point.
package enum LanczosResize {
    private static let lobes = 3.0
    private static let fractionBits = 22

    /// - Parameters:
    ///   - pixels: height rows of width pixels of `channels` bytes.
    package static func resized(
        _ pixels: [UInt8], width: Int, height: Int, channels: Int, toWidth: Int, toHeight: Int
    ) -> [UInt8] {
        var result = pixels
        if toWidth != width {
            let taps = taps(from: width, to: toWidth)
            result = filtered(result, lines: height, taps: taps, pixelStride: channels, lineStride: width * channels)
        }
        if toHeight != height {
            let taps = taps(from: height, to: toHeight)
            result = transposed(
                filtered(
                    transposed(result, rows: height, columns: toWidth, channels: channels), lines: toWidth,
                    taps: taps, pixelStride: channels, lineStride: height * channels),
                rows: toWidth, columns: toHeight, channels: channels)
        }
        return result
    }

    /// The source pixels of one target pixel, and their weights in fixed point.
    private struct Taps {
        let first: Int
        let weights: [Int]
    }

    /// Pillow `precompute_coeffs`: when a picture shrinks the filter grows by the same ratio.
    private static func taps(from source: Int, to target: Int) -> [Taps] {
        let scale = Double(source) / Double(target)
        let stretch = max(scale, 1)
        let support = lobes * stretch
        return (0..<target).map { index in
            let center = (Double(index) + 0.5) * scale
            let first = max(0, Int(center - support + 0.5))
            let end = min(source, Int(center + support + 0.5))
            let weights = (first..<end).map { lanczos((Double($0) - center + 0.5) / stretch) }
            let total = weights.reduce(0, +)
            return Taps(
                first: first,
                weights: weights.map { weight in
                    let scaled = weight / total * Double(1 << fractionBits)
                    return Int(scaled < 0 ? scaled - 0.5 : scaled + 0.5)
                })
        }
    }

    private static func lanczos(_ x: Double) -> Double {
        guard x >= -lobes, x < lobes else { return 0 }
        return sinc(x) * sinc(x / lobes)
    }

    private static func sinc(_ x: Double) -> Double {
        x == 0 ? 1 : sin(x * .pi) / (x * .pi)
    }

    private static func filtered(
        _ pixels: [UInt8], lines: Int, taps: [Taps], pixelStride: Int, lineStride: Int
    ) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(lines * taps.count * pixelStride)
        for line in 0..<lines {
            for tap in taps {
                let start = line * lineStride + tap.first * pixelStride
                for channel in 0..<pixelStride {
                    var sum = 1 << (fractionBits - 1)
                    for (offset, weight) in tap.weights.enumerated() {
                        sum += Int(pixels[start + offset * pixelStride + channel]) * weight
                    }
                    result.append(UInt8(min(max(sum >> fractionBits, 0), 255)))
                }
            }
        }
        return result
    }

    private static func transposed(_ pixels: [UInt8], rows: Int, columns: Int, channels: Int) -> [UInt8] {
        var result = [UInt8](repeating: 0, count: pixels.count)
        for row in 0..<rows {
            for column in 0..<columns {
                for channel in 0..<channels {
                    result[(column * rows + row) * channels + channel] =
                        pixels[(row * columns + column) * channels + channel]
                }
            }
        }
        return result
    }
}
