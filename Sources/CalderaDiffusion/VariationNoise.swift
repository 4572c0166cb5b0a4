import Foundation

/// A little of another seed's noise in a picture's first noise: the web UI's "variation seed" and "variation strength".
/// Only the initial latents change; later draws stay those of the picture's own seed.
/// Reference: the web UI's `modules/rng.py`, `ImageRNG.first` and `slerp`.
public struct VariationNoise: Sendable, Hashable {
    public let seed: UInt64
    /// From 0, the picture's own noise, to 1, the other seed's.
    public let strength: Double

    public init(seed: UInt64, strength: Double) {
        self.seed = seed
        self.strength = strength
    }

    /// The picture's noise [channels, height, width], mixed with as much of the variation's.
    package func applied(to noise: [Float], height: Int, width: Int, source: RandomSource) -> [Float] {
        if strength == 0 { return noise }
        var stream = source.stream(seed: seed)
        let other = stream.normal(count: noise.count)
        return VariationNoise.mixed(noise, other, strength: strength, height: height, width: width)
    }

    /// Spherical interpolation of two noises [channels, height, width], column by column: the web UI takes the norms and
    /// the angles along the height.
    package static func mixed(
        _ noise: [Float], _ other: [Float], strength: Double, height: Int, width: Int
    ) -> [Float] {
        precondition(noise.count == other.count && noise.count.isMultiple(of: height * width), "two noises of one size")
        let starts = (0..<noise.count / (height * width)).flatMap { channel in
            (0..<width).map { channel * height * width + $0 }
        }
        let columns = starts.map { stride(from: $0, to: $0 + height * width, by: width) }
        let cosines = columns.map { cosine(noise, other, $0) }
        var result = noise
        // Nearly the same noise has no angle to speak of. The web UI mixes it the wrong way round, which then matters little.
        if cosines.reduce(0, +) / Double(max(cosines.count, 1)) > 0.9995 {
            for index in noise.indices {
                result[index] = Float(Double(noise[index]) * strength + Double(other[index]) * (1 - strength))
            }
            return result
        }
        for (column, cosine) in zip(columns, cosines) {
            let (own, foreign) = shares(angle: acos(min(max(cosine, -1), 1)), strength)
            for index in column { result[index] = Float(own * Double(noise[index]) + foreign * Double(other[index])) }
        }
        return result
    }

    /// sin((1 - s)·ω) / sin ω and sin(s·ω) / sin ω; their limit where the columns are parallel.
    private static func shares(angle: Double, _ strength: Double) -> (own: Double, other: Double) {
        let sine = sin(angle)
        if sine < 1e-12 { return (1 - strength, strength) }
        return (sin((1 - strength) * angle) / sine, sin(strength * angle) / sine)
    }

    private static func cosine(_ left: [Float], _ right: [Float], _ column: StrideTo<Int>) -> Double {
        var (dot, leftSquares, rightSquares) = (0.0, 0.0, 0.0)
        for index in column {
            let (x, y) = (Double(left[index]), Double(right[index]))
            dot += x * y
            leftSquares += x * x
            rightSquares += y * y
        }
        return dot / (leftSquares * rightSquares).squareRoot()
    }
}
