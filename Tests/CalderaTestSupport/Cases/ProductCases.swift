import CalderaGraph

/// Matrix products and convolutions. Sizes stand on both sides of every tile edge that a kernel is likely to have
/// (8, 16, 32, 64), and at 1.
extension OperatorCase {
    static let matmuls: [OperatorCase] =
        EpilogueVariant.all.map { matmul([2, 5, 24], 20, $0) }
        + [
            matmul([1, 1], 1, .plain), matmul([1, 7], 1, .withBias), matmul([1, 64], 64, .plain),
            matmul([3, 33], 65, .withBias), matmul([17, 1], 9, .withBias), matmul([5, 1280], 320, .withBias, .long),
            matmul([31, 63], 17, .plain), matmul([33, 65], 31, .plain), matmul([64, 64], 64, .withBias),
            matmul([129, 40], 70, .withBias), matmul([65, 127], 129, .plain), matmul([2, 4096], 3, .plain, .long),
            matmul([3, 77, 48], 50, .everything), matmul([2, 9, 7, 33], 21, .everything),
            matmul([1, 4, 4, 320], 64, .everything), matmul([2, 63, 16], 8, .everything),
            matmul([2, 3, 5, 12], 36, .withBias, rank: 4), matmul([3, 6, 6, 35], 37, .everything, rank: 4),
            joinedMatmul([2, 5, 3], 24, 16, 20), joinedMatmul([1], 8, 8, 3), joinedMatmul([65], 8, 120, 33),
            joinedMatmul([19], 640, 328, 64),
        ]

    /// Products with GEGLU behind them: the number is that of the weight's rows, twice the result's columns. Of thousands
    /// of rows the processor's threads make blocks by themselves.
    static let gatedProducts: [OperatorCase] = [
        gated([1, 1], 2, bias: false), gated([2, 5, 24], 40, bias: true), gated([2, 5, 24], 40, bias: false),
        gated([3, 7], 6, bias: true), gated([17, 3], 18, bias: true), gated([5, 1280], 36, bias: true, .long),
        gated([31, 63], 34, bias: false), gated([33, 64], 130, bias: true), gated([3, 33], 66, bias: false),
        gated([65, 40], 254, bias: true), gated([64, 64], 128, bias: true), gated([2, 9, 7, 16], 12, bias: true),
        gated([1030, 5], 10, bias: false), gated([2085, 4], 6, bias: true), gated([2, 6, 32], 20, bias: true, rank: 4),
    ]

    static let convolutions: [OperatorCase] =
        EpilogueVariant.all.map { convolution([2, 5, 6, 12], 20, epilogue: $0) }
        + EpilogueVariant.few.map { convolution([2, 5, 3, 24], 12, kernel: 1, padding: Padding(0), epilogue: $0) }
        + EpilogueVariant.few.map { convolution([2, 4, 6, 16], 24, stride: 2, epilogue: $0) }
        + EpilogueVariant.few.map { convolution([2, 3, 4, 16], 24, enlarged: (5, 7), epilogue: $0) }
        + sizedConvolutions

    private static let sizedConvolutions: [OperatorCase] = [
        convolution([1, 1, 1, 1], 1), convolution([1, 1, 1, 8], 3), convolution([1, 7, 1, 5], 6),
        convolution([1, 2, 9, 3], 16), convolution([2, 8, 8, 3], 40), convolution([1, 9, 11, 4], 33),
        convolution([3, 5, 7, 4], 64), convolution([1, 16, 16, 64], 64), convolution([1, 13, 10, 32], 4),
        convolution([2, 11, 9, 40], 3), convolution([1, 6, 7, 320], 36, exactness: .long),
        convolution([2, 7, 5, 9], 32), convolution([1, 8, 8, 5], 12, epilogue: .everything),
        convolution([3, 5, 5, 33], 65, epilogue: .everything), convolution([1, 15, 17, 17], 15),
        // Stride 2, as a UNet pads and as the encoder of AutoencoderKL does.
        convolution([1, 8, 8, 32], 32, stride: 2), convolution([3, 7, 9, 20], 33, stride: 2),
        convolution([1, 8, 8, 32], 40, stride: 2, padding: asymmetric),
        convolution([2, 7, 9, 12], 20, stride: 2, padding: asymmetric, epilogue: .everything),
        convolution([1, 6, 5, 3], 8, stride: 2, padding: asymmetric), convolution([1, 2, 2, 4], 4, stride: 2),
        convolution([2, 5, 6, 8], 8, kernel: 1, stride: 2, padding: Padding(0)),
        // No padding, and more on one side than on the other.
        convolution([1, 3, 3, 7], 5, padding: Padding(0)), convolution([2, 9, 8, 16], 16, padding: Padding(0)),
        convolution([1, 5, 6, 9], 10, padding: Padding(top: 2, left: 0, bottom: 1, right: 3)),
        // 1x1, as shortcuts and as the two quantisation layers.
        convolution([1, 1, 1, 64], 64, kernel: 1, padding: Padding(0)),
        convolution([3, 9, 7, 4], 4, kernel: 1, padding: Padding(0)),
        convolution([2, 5, 5, 65], 31, kernel: 1, padding: Padding(0)),
        // Enlarged: twice, and to the odd size of a skip connection.
        convolution([1, 4, 4, 32], 32, enlarged: (8, 8)), convolution([2, 3, 5, 20], 12, enlarged: (6, 10)),
        convolution([3, 3, 4, 8], 9, enlarged: (5, 7), epilogue: .everything),
        convolution([1, 5, 7, 33], 16, enlarged: (9, 14)), convolution([1, 1, 1, 16], 8, enlarged: (2, 3)),
    ]

    private static let asymmetric = Padding(top: 0, left: 0, bottom: 1, right: 1)

    /// A product of two sources [rows..., first] and [rows..., second] side by side.
    private static func joinedMatmul(_ rows: [Int], _ first: Int, _ second: Int, _ features: Int) -> OperatorCase {
        OperatorCase("matmul of two sources \(rows + [first]) and \(second) to \(features)", .long) {
            let graph = $0.graph
            let sources = (
                $0.input("first", Shape(rows + [first])), $0.input("second", Shape(rows + [second]), scale: 2)
            )
            let weight = try $0.weight("weight", [features, first + second])
            let bias = try $0.weight("bias", [features])
            try $0.output {
                let joined = try graph.concat(sources.0, sources.1, axis: -1, label: "joined")
                return try graph.linear(joined, weight: weight, bias: bias, label: "layer")
            }
        }
    }

    private static func matmul(
        _ source: Shape, _ features: Int, _ variant: EpilogueVariant, _ exactness: Exactness = .plain, rank: Int = 2
    ) -> OperatorCase {
        OperatorCase("matmul \(source) to \(features)\(variant.name)\(rank == 4 ? ", 1x1 weight" : "")", exactness) {
            let input = $0.input("source", source)
            let ones = Array(repeating: 1, count: rank - 2)
            let weight = try $0.weight("weight", Shape([features, source.channels] + ones))
            let graph = $0.graph
            try $0.finish(variant, Shape(source.extents.dropLast() + [features])) { bias in
                try graph.linear(input, weight: weight, bias: bias, label: "product")
            }
        }
    }

    private static func gated(
        _ source: Shape, _ features: Int, bias: Bool, _ exactness: Exactness = .plain, rank: Int = 2
    ) -> OperatorCase {
        let name = "gated product \(source) to \(features / 2)\(bias ? "+bias" : "")\(rank == 4 ? ", 1x1 weight" : "")"
        return OperatorCase(name, exactness) {
            let graph = $0.graph
            let input = $0.input("source", source)
            let ones = Array(repeating: 1, count: rank - 2)
            let weight = try $0.weight("weight", Shape([features, source.channels] + ones))
            let vector = bias ? try $0.weight("bias", [features]) : nil
            try $0.output {
                let product = try graph.linear(input, weight: weight, bias: vector, label: "product")
                return try graph.geglu(product, label: "gate")
            }
        }
    }

    private static func convolution(
        _ source: Shape, _ features: Int, kernel: Int = 3, stride: Int = 1, padding: Padding = Padding(1),
        enlarged: (height: Int, width: Int)? = nil, epilogue variant: EpilogueVariant = .withBias,
        exactness: Exactness = .plain
    ) -> OperatorCase {
        let size = enlarged.map { Convolution.Size(height: $0.height, width: $0.width) }
        let shape = Convolution(
            kernelHeight: kernel, kernelWidth: kernel, stride: stride, padding: padding, enlarged: size)
        let pads = "\(padding.top)\(padding.left)\(padding.bottom)\(padding.right)"
        let name =
            "convolution \(source) to \(features), \(kernel)x\(kernel), stride \(stride), padding \(pads)"
            + (size.map { ", enlarged to \($0.height)x\($0.width)" } ?? "") + variant.name
        return OperatorCase(name, exactness) {
            let graph = $0.graph
            let input = $0.input("source", source)
            let weight = try $0.weight("weight", [features, source.channels, kernel, kernel])
            try $0.finish(variant, Graph.convolved(source, shape, channels: features)) { bias in
                let picture = try size.map {
                    try graph.upsampleNearest(input, height: $0.height, width: $0.width, label: "enlargement")
                }
                return try graph.convolution(
                    picture ?? input, weight: weight, bias: bias, stride: stride, padding: padding, label: "convolution"
                )
            }
        }
    }
}
