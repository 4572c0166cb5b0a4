import CalderaGraph

/// The whole table: every operator in every form, and small graphs that join them.
package let operatorCases: [OperatorCase] =
    OperatorCase.matmuls + OperatorCase.gatedProducts + OperatorCase.convolutions + OperatorCase.norms
    + OperatorCase.attentions
    + OperatorCase.elements + OperatorCase.language + OperatorCase.graphs

/// Graphs of several nodes: states, stages, views and chains that fuse.
extension OperatorCase {
    static let graphs: [OperatorCase] = [
        counting, denoising, reassigned, doubleBuffered, promptStage, tableOfSteps, residualBlock, transformerBlock,
        skipBlock(16, 8, groups: 4), skipBlock(24, 40, groups: 4), skipBlock(40, 24, groups: 32, rows: (17, 19)),
        skipConnection, sharedValue, enlargedSharedValue, reshapedInput, slicedBatch, slicedOddly, reshapedResult,
        slicedState, manyValues,
    ]

    private static let counting = OperatorCase("graph: a counter over replays", replays: 5) {
        let graph = $0.graph
        let counter = $0.counter("counter", startingAt: 3)
        try graph.assign(graph.increment(counter, label: "next"), to: counter, label: "store")
    }

    /// The scheduler's arithmetic: latents in fp32, a model in the graph's type, one row of coefficients a step.
    private static let denoising = OperatorCase("graph: denoising over replays", replays: 5) {
        let graph = $0.graph
        let latents = $0.state("latents", [2, 5, 3, 4], .float32)
        let step = $0.counter("step")
        let coefficients = $0.input("coefficients", [5, 3], .float32, scale: 0.7)
        let weight = try $0.weight("weight", [4, 4, 3, 3])
        let scaled = try graph.weightedSum(
            [(0, latents)], coefficients: coefficients, step: step, dtype: graph.dtype, label: "scale")
        let noise = try graph.convolution(scaled, weight: weight, bias: nil, padding: Padding(1), label: "model")
        let next = try graph.weightedSum(
            [(1, latents), (2, noise)], coefficients: coefficients, step: step, dtype: .float32, label: "scheduler")
        try graph.assign(next, to: latents, label: "latents")
        try graph.assign(graph.increment(step, label: "next"), to: step, label: "step")
    }

    /// A product reads a state before it is assigned, what is fused to the product stands behind the assignment.
    private static let reassigned = OperatorCase("graph: a state read before and after its assignment", replays: 3) {
        let graph = $0.graph
        let state = $0.state("state", [3, 20])
        let weight = try $0.weight("weight", [20, 20])
        let product = try graph.linear(state, weight: weight, bias: nil, label: "product")
        try graph.assign(graph.activation(state, .relu, label: "relu"), to: state, label: "store")
        let doubled = try graph.add(state, state, label: "after")
        try $0.output { try graph.add(product, doubled, label: "sum") }
    }

    private static let doubleBuffered = OperatorCase("graph: a history of two states", replays: 4) {
        let graph = $0.graph
        let newest = $0.state("newest", [1, 3, 7])
        let older = $0.state("older", [1, 3, 7])
        let weight = try $0.weight("weight", [7, 7])
        let made = try graph.linear(
            try graph.add(newest, older, label: "both"), weight: weight, bias: nil, label: "product")
        try graph.assign(newest, to: older, label: "shift")
        try graph.assign(made, to: newest, label: "store")
    }

    private static let promptStage = OperatorCase("graph: keys and values of the prompt stage", .long, replays: 3) {
        let graph = $0.graph
        let context = $0.input("context", [2, 77, 24])
        let state = $0.state("tokens", [2, 9, 32])
        let keyWeight = try $0.weight("key", [32, 24])
        let valueWeight = try $0.weight("value", [32, 24])
        let key = try graph.linear(context, weight: keyWeight, bias: nil, label: "key")
        let value = try graph.linear(context, weight: valueWeight, bias: nil, label: "value")
        let attended = try graph.attention(query: state, key: key, value: value, heads: 2, label: "attention")
        try graph.assign(attended, to: state, label: "store")
    }

    /// Time embeddings of all steps at once; each replay takes its row.
    private static let tableOfSteps = OperatorCase("graph: a table of time embeddings", .long, replays: 4) {
        let graph = $0.graph
        let times = $0.input("times", [4], .float32, values: [981, 721.5, 401, 1])
        let extra = $0.input("extra", [2, 24])
        let weight = try $0.weight("weight", [24, 32])
        let bias = try $0.weight("bias", [24])
        let step = $0.counter("step")
        let features = try graph.sinusoid(times, channels: 32, flipSinToCos: true, shift: 0, label: "sinusoid")
        let embedded = try graph.linear(features, weight: weight, bias: bias, label: "embedding")
        let table = graph.activation(try graph.outerSum(embedded, extra, label: "extra"), .silu, label: "silu")
        let row = try graph.select(table, step, label: "row")
        let picture = $0.input("picture", [2, 3, 3, 24])
        try $0.output { try graph.add(picture, row, label: "sum") }
        try graph.assign(graph.increment(step, label: "next"), to: step, label: "step")
    }

    private static let residualBlock = OperatorCase("graph: a residual block", .long) {
        let graph = $0.graph
        let source = $0.input("source", [2, 7, 5, 16])
        let time = $0.input("time", [2, 24])
        let norms = [
            (try $0.weight("norm1.weight", [16], mean: 1), try $0.weight("norm1.bias", [16])),
            (try $0.weight("norm2.weight", [24], mean: 1), try $0.weight("norm2.bias", [24])),
        ]
        let first = try $0.weight("first", [24, 16, 3, 3])
        let bias = try $0.weight("first.bias", [24])
        let second = try $0.weight("second", [24, 24, 3, 3])
        let shortcut = try $0.weight("shortcut", [24, 16, 1, 1])
        try $0.output {
            func normed(_ tensor: Tensor, _ index: Int) throws -> Tensor {
                let (weight, bias) = norms[index]
                let norm = try graph.groupNorm(
                    tensor, weight: weight, bias: bias, groups: 8, epsilon: 1e-5, label: "norm")
                return graph.activation(norm, .silu, label: "silu")
            }
            let opened = try graph.convolution(
                try normed(source, 0), weight: first, bias: bias, padding: Padding(1), label: "first")
            let timed = try graph.add(opened, time, label: "time")
            let closed = try graph.convolution(
                try normed(timed, 1), weight: second, bias: nil, padding: Padding(1), label: "second")
            let direct = try graph.linear(source, weight: shortcut, bias: nil, label: "shortcut")
            return try graph.add(direct, closed, label: "residual")
        }
    }

    /// Joined sources of eight channels and more; groups of `skip`'s channels and `hidden`'s alike.
    private static func skipBlock(_ hidden: Int, _ skip: Int, groups: Int, rows: (Int, Int) = (5, 3)) -> OperatorCase {
        OperatorCase("graph: a block over \(hidden) channels and a skip of \(skip), \(groups) groups", .long) {
            let graph = $0.graph
            let left = $0.input("hidden", [2, rows.0, rows.1, hidden], mean: 1)
            let right = $0.input("skip", [2, rows.0, rows.1, skip], mean: -1, scale: 2)
            let normWeight = try $0.weight("norm.weight", [hidden + skip], mean: 1)
            let normBias = try $0.weight("norm.bias", [hidden + skip])
            let convolution = try $0.weight("convolution", [hidden, hidden + skip, 3, 3])
            let shortcut = try $0.weight("shortcut", [hidden, hidden + skip, 1, 1])
            let bias = try $0.weight("shortcut.bias", [hidden])
            try $0.output {
                let joined = try graph.concat(left, right, axis: -1, label: "skip")
                let norm = try graph.groupNorm(
                    joined, weight: normWeight, bias: normBias, groups: groups, epsilon: 1e-5, label: "norm")
                let opened = try graph.convolution(
                    graph.activation(norm, .silu, label: "silu"), weight: convolution, bias: nil, padding: Padding(1),
                    label: "convolution")
                let direct = try graph.linear(joined, weight: shortcut, bias: bias, label: "shortcut")
                return try graph.add(opened, direct, label: "residual")
            }
        }
    }

    private static let transformerBlock = OperatorCase("graph: a transformer block", .long) {
        let graph = $0.graph
        let source = $0.input("source", [2, 5, 3, 32])
        let normWeight = try $0.weight("norm.weight", [32], mean: 1)
        let normBias = try $0.weight("norm.bias", [32])
        var projections: [Tensor] = []
        for name in ["query", "key", "value", "out"] { projections.append(try $0.weight(name, [32, 32])) }
        let gate = try $0.weight("gate", [96, 32])
        let gateBias = try $0.weight("gate.bias", [96])
        let down = try $0.weight("down", [32, 48])
        try $0.output {
            let tokens = try graph.reshape(source, [2, 15, 32])
            let normed = try graph.layerNorm(
                tokens, weight: normWeight, bias: normBias, epsilon: 1e-5, label: "norm")
            let parts = try projections.prefix(3).map {
                try graph.linear(normed, weight: $0, bias: nil, label: "projection")
            }
            let attended = try graph.attention(
                query: parts[0], key: parts[1], value: parts[2], heads: 4, label: "attention")
            let mixed = try graph.add(
                try graph.linear(attended, weight: projections[3], bias: nil, label: "out"), tokens, label: "residual")
            let gated = try graph.geglu(
                try graph.linear(mixed, weight: gate, bias: gateBias, label: "gate"), label: "geglu")
            let fed = try graph.add(
                try graph.linear(gated, weight: down, bias: nil, label: "down"), mixed, label: "residual")
            return try graph.add(try graph.reshape(fed, [2, 5, 3, 32]), source, label: "outer residual")
        }
    }

    private static let skipConnection = OperatorCase("graph: a skip connection", .long) {
        let graph = $0.graph
        let source = $0.input("source", [1, 6, 5, 12])
        let down = try $0.weight("down", [20, 12, 3, 3])
        let up = try $0.weight("up", [20, 20, 3, 3])
        let last = try $0.weight("last", [8, 32, 3, 3])
        try $0.output {
            let small = try graph.convolution(
                source, weight: down, bias: nil, stride: 2, padding: Padding(1), label: "down")
            let large = try graph.upsampleNearest(small, height: 6, width: 5, label: "enlargement")
            let enlarged = try graph.convolution(large, weight: up, bias: nil, padding: Padding(1), label: "up")
            let joined = try graph.concat(enlarged, source, axis: -1, label: "skip")
            return try graph.convolution(joined, weight: last, bias: nil, padding: Padding(1), label: "last")
        }
    }

    private static let sharedValue = OperatorCase("graph: a product that two nodes read and the host too") {
        let graph = $0.graph
        let source = $0.input("source", [2, 9, 16])
        let weight = try $0.weight("weight", [16, 16])
        var shared: Tensor?
        try $0.output("product") {
            let product = try graph.linear(source, weight: weight, bias: nil, label: "product")
            shared = product
            return product
        }
        guard let shared else { return }
        $0.output("activated") { graph.activation(shared, .silu, label: "silu") }
        try $0.output("sum") { try graph.add(shared, source, label: "sum") }
    }

    private static let enlargedSharedValue = OperatorCase("graph: an enlarged picture that two nodes read") {
        let graph = $0.graph
        let source = $0.input("source", [1, 3, 3, 8])
        let weight = try $0.weight("weight", [8, 8, 3, 3])
        let large = try graph.upsampleNearest(source, height: 6, width: 6, label: "enlargement")
        try $0.output {
            let made = try graph.convolution(large, weight: weight, bias: nil, padding: Padding(1), label: "product")
            return try graph.add(made, large, label: "sum")
        }
    }

    private static let reshapedInput = OperatorCase("view: a picture read as tokens") {
        let graph = $0.graph
        let source = $0.input("source", [2, 3, 5, 12])
        let weight = try $0.weight("weight", [20, 12])
        try $0.output {
            try graph.linear(try graph.reshape(source, [2, 15, 12]), weight: weight, bias: nil, label: "product")
        }
    }

    /// Guidance: both halves of a batch of 2.
    private static let slicedBatch = OperatorCase("view: guidance of two halves of a batch") {
        let graph = $0.graph
        let source = $0.input("source", [2, 6, 4, 4])
        let weight = try $0.weight("weight", [4, 4, 3, 3])
        let coefficients = $0.input("coefficients", [1, 2], .float32, values: [-6.5, 7.5])
        let step = $0.integers("step", [1], [0], stage: .step)
        let both = try graph.convolution(source, weight: weight, bias: nil, padding: Padding(1), label: "model")
        let without = try graph.slice(both, 0..<1)
        let with = try graph.slice(both, 1..<2)
        try $0.output {
            try graph.weightedSum(
                [(0, without), (1, with)], coefficients: coefficients, step: step, dtype: .float32, label: "guidance")
        }
    }

    /// Views that start at odd elements, as input of one operator of each family.
    private static let slicedOddly = OperatorCase("view: slices that start at odd elements", .long) {
        let graph = $0.graph
        let source = $0.input("source", [3, 5, 7, 3])
        let kernel = try $0.weight("kernel", [9, 3, 3, 3])
        let weight = try $0.weight("weight", [9, 3])
        let vector = try $0.weight("vector", [3], mean: 1)
        let other = $0.input("other", [2, 5, 7, 3])
        let odd = try graph.slice(source, 1..<3)
        let last = try graph.slice(source, 2..<3)
        try $0.output("convolved") {
            try graph.convolution(odd, weight: kernel, bias: nil, padding: Padding(1), label: "convolution")
        }
        try $0.output("product") { try graph.linear(odd, weight: weight, bias: nil, label: "product") }
        try $0.output("normed") {
            try graph.groupNorm(last, weight: vector, bias: vector, groups: 3, epsilon: 1e-5, label: "group norm")
        }
        try $0.output("rows") {
            try graph.layerNorm(odd, weight: vector, bias: vector, epsilon: 1e-5, label: "layer norm")
        }
        try $0.output("sum") { try graph.add(other, odd, label: "sum") }
        $0.output("activated") { graph.activation(last, .gelu, label: "gelu") }
        try $0.output("joined") { try graph.concat(last, odd, axis: 0, label: "joined") }
        try $0.output("large") { try graph.upsampleNearest(last, height: 9, width: 8, label: "enlargement") }
    }

    private static let reshapedResult = OperatorCase("view: an output that is a view of a result") {
        let graph = $0.graph
        let source = $0.input("source", [2, 15, 12])
        let weight = try $0.weight("weight", [8, 12])
        try $0.output {
            let product = try graph.linear(source, weight: weight, bias: nil, label: "product")
            return try graph.reshape(try graph.slice(product, 1..<2), [3, 5, 8])
        }
    }

    private static let slicedState = OperatorCase("view: a slice of a state", replays: 3) {
        let graph = $0.graph
        let state = $0.state("state", [2, 3, 5])
        let front = try graph.slice(state, 0..<1)
        let back = try graph.slice(state, 1..<2)
        try graph.assign(
            try graph.concat(back, graph.activation(front, .silu, label: "silu"), axis: 0, label: "joined"),
            to: state, label: "store")
    }

    /// Values of many sizes that live long and short, so that memory is reused in every way.
    private static let manyValues = OperatorCase("graph: a ladder of values that share the arena", .long, replays: 2) {
        let graph = $0.graph
        let source = $0.input("source", [2, 9, 7, 8], stage: .step)
        var skips: [Tensor] = []
        var value = source
        for index in 0..<6 {
            let weight = try $0.weight("down.\(index)", [8 + 5 * (index + 1), value.shape.channels])
            value = graph.activation(
                try graph.linear(value, weight: weight, bias: nil, label: "down"), .silu, label: "silu")
            skips.append(value)
        }
        for (index, skip) in skips.reversed().enumerated() {
            let joined = try graph.concat(value, skip, axis: -1, label: "skip")
            let weight = try $0.weight("up.\(index)", [38 - 5 * index, joined.shape.channels])
            value = try graph.linear(joined, weight: weight, bias: nil, label: "up")
        }
        let last = value
        try $0.output { try graph.add(last, last, label: "result") }
    }
}
