import CalderaGraph
import Foundation

/// What language models add.
extension NaiveOperators {
    /// x / √(mean of x² + ε) · w over each row.
    static func rmsNorm(_ source: Operand, _ weight: Operand, _ epsilon: Double) -> [Double] {
        let channels = source.shape.channels
        return (0..<source.shape.rows).flatMap { row -> [Double] in
            let values = source.values[row * channels..<(row + 1) * channels]
            let mean = values.reduce(0) { $0 + $1 * $1 } / Double(channels)
            return zip(values, weight.values).map { $0 / (mean + epsilon).squareRoot() * $1 }
        }
    }

    /// (x₁·cos - x₂·sin, x₂·cos + x₁·sin) for the halves x₁, x₂ of each head.
    static func rotary(
        _ source: Operand, _ table: Operand, _ positions: Operand, _ headSize: Int
    ) throws -> [Double] {
        let (tokens, channels, half) = (source.shape[1], source.shape.channels, headSize / 2)
        return try source.values.indices.map { index in
            let (token, channel) = (index / channels, index % channels % headSize)
            let angles = try row(Int(positions.values[token / tokens]) + token % tokens, of: table)
            let (cosine, sine) = (angles[channel % half], angles[half + channel % half])
            return channel < half
                ? source.values[index] * cosine - source.values[index + half] * sine
                : source.values[index] * cosine + source.values[index - half] * sine
        }
    }

    /// The cache with entry positions[b] + t of sequence b replaced by token t.
    static func writeCache(_ source: Operand, _ positions: Operand, _ cache: Operand) -> [Double] {
        let (tokens, channels, entries) = (source.shape[1], source.shape[2], cache.shape[1])
        var result = cache.values
        for batch in 0..<source.shape[0] {
            for token in 0..<tokens {
                let entry = Int(positions.values[batch]) + token
                guard (0..<entries).contains(entry) else { continue }
                for channel in 0..<channels {
                    result[(batch * entries + entry) * channels + channel] =
                        source.values[(batch * tokens + token) * channels + channel]
                }
            }
        }
        return result
    }

    /// y[t] = Σₛ softmaxₛ(scale · q[t]·k[s]) · v[s] over s ≤ positions[b] + t, the heads of a group with one key head.
    static func cachedAttention(_ attention: CachedAttention, _ inputs: [Operand]) -> [Double] {
        let (query, keys, values) = (inputs[0], inputs[1], inputs[2])
        let (tokens, entries, size) = (query.shape[1], keys.shape[1], attention.headSize)
        var result = [Double](repeating: 0, count: query.values.count)
        for (row, batch) in (0..<query.shape[0] * tokens).map({ ($0, $0 / tokens) }) {
            let visible = min(entries, Int(inputs[3].values[batch]) + row % tokens + 1)
            for head in 0..<attention.heads {
                let target = (row * attention.heads + head) * size
                let shared = head / (attention.heads / attention.keyHeads)
                func start(_ s: Int) -> Int { ((batch * entries + s) * attention.keyHeads + shared) * size }
                let logits = (0..<visible).map { s in
                    (0..<size).reduce(0.0) { $0 + query.values[target + $1] * keys.values[start(s) + $1] }
                        * Double(attention.scale)
                }
                let largest = logits.max() ?? 0
                let weights = logits.map { exp($0 - largest) }
                let total = weights.reduce(0, +)
                for (s, weight) in weights.enumerated() {
                    for d in 0..<size { result[target + d] += weight / total * values.values[start(s) + d] }
                }
            }
        }
        return result
    }
}
