import CalderaGraph
import Foundation

extension Activation {
    /// The function as its case in `Activation` defines it.
    func callAsFunction(_ x: Double) -> Double {
        switch self {
        case .silu: x / (1 + exp(-x))
        case .gelu: x / 2 * (1 + erf(x / 2.0.squareRoot()))
        case .quickGELU: x / (1 + exp(-1.702 * x))
        case .relu: max(x, 0)
        case .tanh: Foundation.tanh(x)
        }
    }
}

/// Operations that look at one element, one row or one index at a time.
extension NaiveOperators {
    /// y[b, t] = tokens[ids[b, t]], plus positions[t] where there are positions.
    static func embedding(_ ids: Operand, _ tokens: Operand, _ positions: Operand?) throws -> [Double] {
        let length = ids.shape[1]
        return try ids.values.enumerated().flatMap { index, id in
            let token = try row(Int(id), of: tokens)
            guard let positions else { return token }
            return zip(token, try row(index % length, of: positions)).map { $0 + $1 }
        }
    }

    /// diffusers' `get_timestep_embedding`: sines then cosines of x · exp(-ln 10000 · i / (half - shift)), or flipped.
    static func sinusoid(_ numbers: Operand, _ channels: Int, _ flipSinToCos: Bool, _ shift: Double) -> [Double] {
        let half = channels / 2
        return numbers.values.flatMap { x -> [Double] in
            let angles = (0..<half).map { x * exp(-log(10000) * Double($0) / (Double(half) - shift)) }
            let (sines, cosines) = (angles.map { sin($0) }, angles.map { cos($0) })
            return flipSinToCos ? cosines + sines : sines + cosines
        }
    }

    /// left + right, where right may be one row for each entry of the batch, or one row for all.
    static func add(_ left: Operand, _ right: Operand) -> [Double] {
        if left.shape == right.shape { return zip(left.values, right.values).map { $0 + $1 } }
        let channels = left.shape.channels
        let perEntry = left.values.count / left.shape[0]
        return left.values.enumerated().map { index, value in
            let row = right.shape[0] == 1 ? 0 : index / perEntry
            return value + right.values[row * channels + index % channels]
        }
    }

    /// y[s, b] = left[s] + right[b].
    static func outerSum(_ left: Operand, _ right: Operand) -> [Double] {
        let channels = left.shape.channels
        return (0..<left.shape[0] * right.shape[0] * channels).map { index in
            let (pair, channel) = (index / channels, index % channels)
            let (s, b) = (pair / right.shape[0], pair % right.shape[0])
            return left.values[s * channels + channel] + right.values[b * channels + channel]
        }
    }

    /// y[r, c] = x[r, c] · gelu(x[r, C + c]).
    static func geglu(_ source: Operand) -> [Double] {
        let half = source.shape.channels / 2
        return (0..<source.shape.rows * half).map { index in
            let start = index / half * 2 * half + index % half
            return source.values[start] * Activation.gelu(source.values[start + half])
        }
    }

    /// For each index of the axes before `axis`: all of left's elements, then all of right's.
    static func concat(_ left: Operand, _ right: Operand, _ axis: Int) -> [Double] {
        let outer = left.shape.extents.prefix(axis).reduce(1, *)
        var result: [Double] = []
        for index in 0..<outer {
            for part in [left, right] {
                let run = part.values.count / outer
                result += part.values[index * run..<(index + 1) * run]
            }
        }
        return result
    }

    /// y[b, i, j] = x[b, ⌊i·H / height⌋, ⌊j·W / width⌋].
    static func upsample(_ source: Operand, _ height: Int, _ width: Int) -> Operand {
        let (rows, columns, channels) = (source.shape[1], source.shape[2], source.shape[3])
        var result: [Double] = []
        for batch in 0..<source.shape[0] {
            for i in 0..<height {
                for j in 0..<width {
                    let pixel = ((batch * rows + i * rows / height) * columns + j * columns / width) * channels
                    result += source.values[pixel..<pixel + channels]
                }
            }
        }
        return Operand(shape: [source.shape[0], height, width, channels], values: result)
    }

    /// table[index].
    static func select(_ table: Operand, _ index: Operand) throws -> [Double] {
        try row(Int(index.values[0]), of: table)
    }

    /// y[b] = x[b, index[b]].
    static func gatherToken(_ source: Operand, _ index: Operand) throws -> [Double] {
        let (tokens, channels) = (source.shape[1], source.shape[2])
        let rows = Operand(shape: [source.shape[0] * tokens, channels], values: source.values)
        return try index.values.enumerated().flatMap { batch, token in
            guard (0..<tokens).contains(Int(token)) else {
                throw CalderaError("There is no token \(token) of \(tokens).")
            }
            return try row(batch * tokens + Int(token), of: rows)
        }
    }

    /// Σᵢ coefficients[step, columns[i]] · sourceᵢ.
    static func weightedSum(_ columns: [Int], _ inputs: [Operand]) throws -> [Double] {
        let coefficients = try row(Int(inputs[1].values[0]), of: inputs[0])
        let terms = zip(columns, inputs.dropFirst(2))
        return inputs[2].values.indices.map { index in
            terms.reduce(0) { $0 + coefficients[$1.0] * $1.1.values[index] }
        }
    }

    /// (1 - mask) · first + mask · second; the mask has one value for each pixel and may be one picture's for all.
    static func blend(_ first: Operand, _ second: Operand, mask: Operand) -> [Double] {
        first.values.indices.map { index in
            let share = mask.values[index / first.shape.channels % mask.values.count]
            return (1 - share) * first.values[index] + share * second.values[index]
        }
    }

    /// diffusers' `rescale_noise_cfg`: guided · (φ · std(prompted) / std(guided) + 1 - φ), φ from the step's row.
    static func rescale(_ column: Int, _ inputs: [Operand]) throws -> [Double] {
        let strength = try row(Int(inputs[1].values[0]), of: inputs[0])[column]
        let (guided, prompted) = (inputs[2], inputs[3])
        return try (0..<guided.shape[0]).flatMap { entry -> [Double] in
            let values = try row(entry, of: guided)
            let ratio = standardDeviation(try row(entry, of: prompted)) / standardDeviation(values)
            return values.map { strength * ratio * $0 + (1 - strength) * $0 }
        }
    }

    /// `torch.std`: unbiased.
    private static func standardDeviation(_ values: [Double]) -> Double {
        let mean = values.reduce(0, +) / Double(values.count)
        return (values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(values.count - 1)).squareRoot()
    }

    /// Entry `index` of the outermost axis.
    static func row(_ index: Int, of table: Operand) throws -> [Double] {
        guard (0..<table.shape[0]).contains(index) else {
            throw CalderaError("There is no row \(index) in a table \(table.shape).")
        }
        let size = table.values.count / table.shape[0]
        return Array(table.values[index * size..<(index + 1) * size])
    }
}
