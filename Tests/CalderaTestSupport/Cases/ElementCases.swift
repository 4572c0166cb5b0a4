import CalderaGraph

/// Operations on single elements, rows and indices.
extension OperatorCase {
    static let elements: [OperatorCase] =
        activations + sums + concatenations + enlargements + embeddings + selections + weightedSums
        + scalings + blends + rescalings + casts

    private static let activations: [OperatorCase] =
        Activation.allCases.flatMap { function in
            [Shape([1]), [3, 5, 7], [2, 9, 11, 20], [257]].map { shape in
                OperatorCase("activation \(function.rawValue) \(shape)") {
                    let graph = $0.graph
                    let input = $0.input("source", shape, scale: 2)
                    $0.output { graph.activation(input, function, label: "activation") }
                }
            } + [
                OperatorCase("activation \(function.rawValue), up to 30 either way") {
                    let graph = $0.graph
                    let input = $0.input("source", [121], values: (-60...60).map { Float($0) / 2 })
                    $0.output { graph.activation(input, function, label: "activation") }
                }
            ]
        }
        + [Shape([1, 2]), [2, 5, 14], [1, 33, 640], [3, 2, 2, 10]].map { shape in
            OperatorCase("geglu \(shape)") {
                let graph = $0.graph
                let input = $0.input("source", shape, scale: 3)
                try $0.output { try graph.geglu(input, label: "gate") }
            }
        }

    private static let sums: [OperatorCase] =
        ([
            ([1], [1]), ([3, 5, 7], [3, 5, 7]), ([2, 9, 11, 20], [2, 9, 11, 20]), ([3, 5, 7], [3, 7]),
            ([2, 3, 5, 33], [1, 33]), ([3, 4, 5, 9], [3, 9]), ([1, 33, 64], [1, 64]),
        ] as [(Shape, Shape)]).map { left, right in
            OperatorCase("add \(left) and \(right)") {
                let graph = $0.graph
                let (first, second) = ($0.input("left", left), $0.input("right", right))
                try $0.output { try graph.add(first, second, label: "sum") }
            }
        }
        + ([([1, 1], [1, 1]), ([5, 7], [3, 7]), ([20, 320], [2, 320])] as [(Shape, Shape)]).map { left, right in
            OperatorCase("outer_sum \(left) and \(right)") {
                let graph = $0.graph
                let (first, second) = ($0.input("left", left), $0.input("right", right))
                try $0.output { try graph.outerSum(first, second, label: "sum") }
            }
        } + [
            OperatorCase("add a tensor to itself") {
                let graph = $0.graph
                let input = $0.input("source", [2, 3, 5])
                try $0.output { try graph.add(input, input, label: "sum") }
            }
        ]

    private static let concatenations: [OperatorCase] =
        ([
            ([1, 4], [2, 4], 0), ([1, 3, 5, 7], [2, 3, 5, 7], 0), ([2, 5, 7], [2, 5, 3], -1), ([4, 1], [4, 1], 1),
            ([2, 3, 5, 33], [2, 3, 5, 31], 3), ([1, 4, 4, 320], [1, 4, 4, 64], 3), ([2, 77, 8], [2, 77, 8], 1),
            ([3, 2, 9], [3, 5, 9], 1), ([2, 5, 3, 4], [2, 5, 3, 1], 3), ([2, 5, 3, 5], [2, 5, 3, 4], 3),
            ([2, 3, 4, 5], [2, 3, 7, 5], 2), ([3, 9, 11, 64], [3, 9, 11, 32], -1),
        ] as [(Shape, Shape, Int)]).map { left, right, axis in
            OperatorCase("concat \(left) and \(right) on axis \(axis)") {
                let graph = $0.graph
                let (first, second) = ($0.input("left", left), $0.input("right", right))
                try $0.output { try graph.concat(first, second, axis: axis, label: "concat") }
            }
        }

    private static let enlargements: [OperatorCase] =
        ([([1, 1, 1, 1], 2, 2), ([2, 3, 4, 5], 5, 7), ([1, 4, 4, 32], 8, 8), ([3, 5, 3, 33], 9, 6)]
        as [(Shape, Int, Int)]).map { source, height, width in
            OperatorCase("upsample_nearest \(source) to \(height)x\(width)") {
                let graph = $0.graph
                let input = $0.input("source", source)
                try $0.output { try graph.upsampleNearest(input, height: height, width: width, label: "enlargement") }
            }
        }

    private static let embeddings: [OperatorCase] =
        ([(1, 1, 8), (2, 77, 32), (3, 5, 7)] as [(Int, Int, Int)]).map { batch, tokens, channels in
            OperatorCase("embedding \(batch)x\(tokens) of \(channels)") {
                let graph = $0.graph
                let ids = $0.integers("ids", [batch, tokens], (0..<batch * tokens).map { Int32($0 * 31 % 50) })
                let table = try $0.weight("tokens", [50, channels])
                let positions = try $0.weight("positions", [80, channels])
                try $0.output { try graph.embedding(ids: ids, tokens: table, positions: positions, label: "embedding") }
            }
        }
        + [(320, true, 0.0), (32, false, 1.0), (256, true, 0.0), (2, true, 0.0)].map { channels, flip, shift in
            OperatorCase("sinusoid of \(channels), flipped \(flip), shift \(shift)", .long) {
                let graph = $0.graph
                let numbers = $0.input("numbers", [7], .float32, values: [0, 1, 0.5, 20.25, 512, 999, 981.125])
                try $0.output {
                    try graph.sinusoid(
                        numbers, channels: channels, flipSinToCos: flip, shift: Float(shift), label: "sinusoid")
                }
            }
        }

    private static let selections: [OperatorCase] =
        ([([1, 3], 0), ([5, 7], 4), ([4, 3, 5], 2), ([3, 2, 33], 1)] as [(Shape, Int32)]).map { table, index in
            OperatorCase("select row \(index) of \(table)") {
                let graph = $0.graph
                let (rows, row) = ($0.input("table", table), $0.integers("index", [1], [index], stage: .step))
                try $0.output { try graph.select(rows, row, label: "row") }
            }
        }
        + ([([1, 1, 1], [0]), ([2, 77, 32], [76, 5]), ([3, 5, 7], [4, 0, 2])] as [(Shape, [Int32])]).map {
            shape, tokens in
            OperatorCase("gather_token \(tokens) of \(shape)") {
                let graph = $0.graph
                let input = $0.input("source", shape)
                let index = $0.integers("index", [shape[0]], tokens)
                try $0.output { try graph.gatherToken(input, index, label: "token") }
            }
        }

    /// Every count of terms, with sources in the graph's element type or fp32 and either as the result.
    private static let weightedSums: [OperatorCase] =
        (1...Graph.largestWeightedSum).flatMap { terms in
            [(false, false), (false, true), (true, false), (true, true)].map { wideSources, wideResult in
                let types = (wideSources ? "fp32" : "graph's", wideResult ? "fp32" : "graph's")
                return OperatorCase("weighted_sum of \(terms), \(types.0) type to \(types.1) type") {
                    let graph = $0.graph
                    let coefficients = $0.input("coefficients", [3, 5], .float32)
                    let step = $0.integers("step", [1], [2], stage: .step)
                    var sources: [(column: Int, source: Tensor)] = []
                    for term in 0..<terms {
                        let type = wideSources ? DType.float32 : graph.dtype
                        sources.append(((term * 3 + 1) % 5, $0.input("source \(term)", [2, 3, 5, 4], type)))
                    }
                    let type = wideResult ? DType.float32 : graph.dtype
                    try $0.output {
                        try graph.weightedSum(
                            sources, coefficients: coefficients, step: step, dtype: type, label: "sum")
                    }
                }
            }
        } + [
            OperatorCase("weighted_sum of mixed types") {
                let graph = $0.graph
                let coefficients = $0.input("coefficients", [2, 2], .float32)
                let step = $0.integers("step", [1], [1], stage: .step)
                let wide = $0.input("wide", [1, 7, 9, 4], .float32)
                let narrow = $0.input("narrow", [1, 7, 9, 4])
                try $0.output {
                    try graph.weightedSum(
                        [(0, wide), (1, narrow)], coefficients: coefficients, step: step, dtype: .float32, label: "sum")
                }
            }
        ]

    private static let scalings: [OperatorCase] =
        [Shape([1]), [3, 5, 7], [2, 9, 11, 20]].map { shape in
            OperatorCase("scale_shift \(shape)") {
                let graph = $0.graph
                let input = $0.input("source", shape)
                $0.output { graph.scaleShift(input, scale: 2, shift: -1, label: "range") }
            }
        }

    /// With masks of zeros, ones and what lies between, for all pictures or for each.
    private static let blends: [OperatorCase] =
        ([([1, 1, 1, 1], 1), ([2, 5, 7, 4], 1), ([3, 4, 3, 4], 3), ([2, 3, 5, 3], 1), ([2, 3, 5, 9], 2)]
        as [(Shape, Int)]).map { shape, pictures in
            OperatorCase("blend \(shape) by \(pictures) mask\(pictures == 1 ? "" : "s")") {
                let graph = $0.graph
                let (first, second) = ($0.input("first", shape, .float32), $0.input("second", shape, .float32))
                let pixels: Shape = [pictures, shape[1], shape[2], 1]
                let mask = $0.input(
                    "mask", pixels, .float32, values: (0..<pixels.count).map { [0, 1, 0.25, 1][$0 % 4] })
                try $0.output { try graph.blend(first, second, mask: mask, label: "blend") }
            }
        }

    /// Entries of several means and spreads, from two values to more than one workgroup's share.
    private static let rescalings: [OperatorCase] =
        ([([1, 2], 1), ([2, 5, 7, 4], 0), ([3, 3, 5, 3], 2), ([1, 64, 72, 4], 1), ([2, 80, 64, 4], 2)]
        as [(Shape, Int32)]).map { shape, row in
            OperatorCase("rescale \(shape) at step \(row)") {
                let graph = $0.graph
                let coefficients = $0.input("coefficients", [3, 2], .float32, values: [9, 0, 9, 0.7, 9, 1])
                let step = $0.integers("step", [1], [row], stage: .step)
                let guided = $0.input("guided", shape, .float32, mean: 0.5, scale: 3)
                let prompted = $0.input("prompted", shape, .float32, mean: -0.25)
                try $0.output {
                    try graph.rescale(
                        guided: guided, prompted: prompted, coefficients: coefficients, column: 1, step: step,
                        label: "rescale")
                }
            }
        }

    private static let casts: [OperatorCase] = floats.flatMap { source in
        floats.filter { $0 != source }.flatMap { target in
            [Shape([3, 5, 7]), [2, 16, 16, 4]].map { shape in
                OperatorCase("cast \(source) \(shape) to \(target)", explicitTypes: [source, target]) {
                    let graph = $0.graph
                    let input = $0.input("source", shape, source, scale: 20)
                    $0.output { graph.cast(input, to: target, label: "cast") }
                }
            }
        }
    }

    private static let floats: [DType] = [.float32, .float16, .bfloat16]
}
