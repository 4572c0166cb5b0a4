import CalderaGraph
import Foundation

/// Each operation as its formula reads; inputs and layouts are those of `Op`.
enum NaiveOperators {
    static func evaluate(_ op: Op, _ inputs: [Operand]) throws -> [Double] {
        switch op {
        case .matmul(let epilogue): gated(finish(matmul(inputs[0], inputs[1]), epilogue, inputs), epilogue, inputs)
        case .convolution(let shape, let epilogue): finish(convolution(shape, inputs[0], inputs[1]), epilogue, inputs)
        case .groupNorm(let groups, let epsilon, let function):
            groupNorm(inputs, groups, Double(epsilon)).map { function?($0) ?? $0 }
        case .layerNorm(let epsilon): layerNorm(inputs, Double(epsilon))
        case .rmsNorm(let epsilon): rmsNorm(inputs[0], inputs[1], Double(epsilon))
        case .cachedAttention(let attention): cachedAttention(attention, inputs)
        case .writeCache: writeCache(inputs[0], inputs[1], inputs[2])
        case .rotary(let size): try rotary(inputs[0], inputs[1], inputs[2], size)
        case .swiglu: zip(inputs[0].values, inputs[1].values).map { Activation.silu($0) * $1 }
        case .attention(let attention): self.attention(attention, inputs[0], inputs[1], inputs[2])
        case .embedding: try embedding(inputs[0], inputs[1], inputs.count > 2 ? inputs[2] : nil)
        case .sinusoid(let channels, let flip, let shift): sinusoid(inputs[0], channels, flip, Double(shift))
        case .activation(let function): inputs[0].values.map { function($0) }
        case .scaleShift(let scale, let shift): inputs[0].values.map { Double(scale) * $0 + Double(shift) }
        case .add: add(inputs[0], inputs[1])
        case .outerSum: outerSum(inputs[0], inputs[1])
        case .geglu: geglu(inputs[0])
        case .concat(let axis): concat(inputs[0], inputs[1], axis)
        case .upsampleNearest(let height, let width): upsample(inputs[0], height, width).values
        case .select: try select(inputs[0], inputs[1])
        case .gatherToken: try gatherToken(inputs[0], inputs[1])
        case .weightedSum(let columns): try weightedSum(columns, inputs)
        case .blend: blend(inputs[0], inputs[1], mask: inputs[2])
        case .rescale(let column): try rescale(column, inputs)
        case .cast, .assign: inputs[0].values
        case .increment: inputs[0].values.map { $0 + 1 }
        }
    }

    /// y[r, n] = Σₖ x[r, k] · w[n, k].
    private static func matmul(_ source: Operand, _ weight: Operand) -> Operand {
        let inner = source.shape.channels
        let features = weight.shape[0]
        var result: [Double] = []
        for row in 0..<source.shape.rows {
            for feature in 0..<features {
                var sum = 0.0
                for k in 0..<inner { sum += source.values[row * inner + k] * weight.values[feature * inner + k] }
                result.append(sum)
            }
        }
        return Operand(shape: Shape(source.shape.extents.dropLast() + [features]), values: result)
    }

    /// y[b, i, j, n] = Σ x[b, s·i + u - top, s·j + v - left, c] · w[n, c, u, v], zero outside the (enlarged) picture.
    private static func convolution(_ convolution: Convolution, _ source: Operand, _ weight: Operand) -> Operand {
        let picture = convolution.enlarged.map { upsample(source, $0.height, $0.width) } ?? source
        let shape = Graph.convolved(source.shape, convolution, channels: weight.shape[0])
        var result: [Double] = []
        for batch in 0..<shape[0] {
            for row in 0..<shape[1] {
                for column in 0..<shape[2] {
                    for feature in 0..<shape[3] {
                        result.append(window(convolution, picture, weight, batch, row, column, feature))
                    }
                }
            }
        }
        return Operand(shape: shape, values: result)
    }

    /// One element of a convolution.
    private static func window(
        _ convolution: Convolution, _ picture: Operand, _ weight: Operand, _ batch: Int, _ row: Int, _ column: Int,
        _ feature: Int
    ) -> Double {
        let (height, width, channels) = (picture.shape[1], picture.shape[2], picture.shape[3])
        var sum = 0.0
        for u in 0..<convolution.kernelHeight {
            let y = convolution.stride * row + u - convolution.padding.top
            guard (0..<height).contains(y) else { continue }
            for v in 0..<convolution.kernelWidth {
                let x = convolution.stride * column + v - convolution.padding.left
                guard (0..<width).contains(x) else { continue }
                let pixel = ((batch * height + y) * width + x) * channels
                for c in 0..<channels {
                    let tap = ((feature * channels + c) * convolution.kernelHeight + u) * convolution.kernelWidth + v
                    sum += picture.values[pixel + c] * weight.values[tap]
                }
            }
        }
        return sum
    }

    /// residual + f(y + bias + rowBias), as `Epilogue` orders them.
    private static func finish(_ product: Operand, _ epilogue: Epilogue, _ inputs: [Operand]) -> [Double] {
        let features = product.shape.channels
        let perEntry = product.values.count / max(product.shape[0], 1)
        return product.values.enumerated().map { index, sum in
            var value = sum
            let feature = index % features
            if let bias = epilogue.biasIndex { value += inputs[bias].values[feature] }
            if let rowBias = epilogue.rowBiasIndex {
                let row = inputs[rowBias].shape[0] == 1 ? 0 : index / perEntry
                value += inputs[rowBias].values[row * features + feature]
            }
            if let function = epilogue.activation { value = function(value) }
            if let residual = epilogue.residualIndex { value += inputs[residual].values[index] }
            return value
        }
    }

    /// value · gelu(gate) of each row's halves, where the epilogue asks for it.
    private static func gated(_ product: [Double], _ epilogue: Epilogue, _ inputs: [Operand]) -> [Double] {
        epilogue.gated ? geglu(Operand(shape: [inputs[0].shape.rows, inputs[1].shape[0]], values: product)) : product
    }

    /// (x - mean) / √(variance + ε) · w + b, with statistics over each picture's group of channels.
    private static func groupNorm(_ inputs: [Operand], _ groups: Int, _ epsilon: Double) -> [Double] {
        let (source, weight, bias) = (inputs[0], inputs[1], inputs[2])
        let channels = source.shape.channels
        let size = channels / groups
        let perEntry = source.values.count / source.shape[0]
        var result = source.values
        for batch in 0..<source.shape[0] {
            for group in 0..<groups {
                let members = (batch * perEntry..<(batch + 1) * perEntry).filter { $0 % channels / size == group }
                let (mean, deviation) = statistics(members.map { source.values[$0] }, epsilon)
                for index in members {
                    let channel = index % channels
                    result[index] =
                        (source.values[index] - mean) / deviation * weight.values[channel] + bias.values[channel]
                }
            }
        }
        return result
    }

    /// (x - mean) / √(variance + ε) · w + b, with statistics over each row.
    private static func layerNorm(_ inputs: [Operand], _ epsilon: Double) -> [Double] {
        let channels = inputs[0].shape.channels
        return (0..<inputs[0].shape.rows).flatMap { row -> [Double] in
            let values = inputs[0].values[row * channels..<(row + 1) * channels]
            let (mean, deviation) = statistics(Array(values), epsilon)
            return values.enumerated().map { channel, value in
                (value - mean) / deviation * inputs[1].values[channel] + inputs[2].values[channel]
            }
        }
    }

    /// Mean, and √(biased variance + ε).
    private static func statistics(_ values: [Double], _ epsilon: Double) -> (mean: Double, deviation: Double) {
        let mean = values.reduce(0, +) / Double(values.count)
        let variance = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(values.count)
        return (mean, (variance + epsilon).squareRoot())
    }

    /// y[t] = Σₛ softmaxₛ(scale · q[t]·k[s]) · v[s] for each head; a causal token sees those up to itself.
    private static func attention(
        _ attention: Attention, _ query: Operand, _ key: Operand, _ value: Operand
    ) -> [Double] {
        let (tokens, keys, channels, size) = (query.shape[1], key.shape[1], query.shape.channels, attention.headSize)
        var result = [Double](repeating: 0, count: query.values.count)
        for batch in 0..<query.shape[0] {
            for head in 0..<attention.heads {
                for token in 0..<tokens {
                    let target = (batch * tokens + token) * channels + head * size
                    func start(_ s: Int) -> Int { (batch * keys + s) * channels + head * size }
                    let visible = attention.causal ? min(token + 1, keys) : keys
                    let logits = (0..<visible).map { s in
                        (0..<size).reduce(0.0) { $0 + query.values[target + $1] * key.values[start(s) + $1] }
                            * Double(attention.scale)
                    }
                    let largest = logits.max() ?? 0
                    let weights = logits.map { exp($0 - largest) }
                    let total = weights.reduce(0, +)
                    for (s, weight) in weights.enumerated() {
                        for d in 0..<size { result[target + d] += weight / total * value.values[start(s) + d] }
                    }
                }
            }
        }
        return result
    }
}
