import CalderaGraph

/// Norms and attention.
extension OperatorCase {
    static let norms: [OperatorCase] =
        [false, true].flatMap { silu in
            [
                groupNorm([1, 1, 1, 8], 4, silu: silu), groupNorm([1, 5, 7, 32], 32, silu: silu),
                groupNorm([3, 3, 5, 20], 4, silu: silu), groupNorm([2, 9, 7, 64], 32, silu: silu),
                groupNorm([1, 16, 16, 96], 32, epsilon: 1e-6, silu: silu), groupNorm([2, 33, 24], 8, silu: silu),
                groupNorm([1, 31, 29, 24], 8, epsilon: 1e-3, silu: silu), groupNorm([2, 3, 3, 9], 1, silu: silu),
                groupNorm([1, 4, 4, 320], 32, silu: silu), groupNorm([2, 64, 64, 12], 4, silu: silu),
            ]
        } + [
            layerNorm([1, 1, 8]), layerNorm([3, 5, 7]), layerNorm([2, 77, 32]), layerNorm([1, 33, 320]),
            layerNorm([2, 3, 1280]), layerNorm([65, 40], epsilon: 1e-3), layerNorm([1, 2, 768], epsilon: 1e-6),
        ]

    static let attentions: [OperatorCase] =
        [8, 32, 40, 64, 80, 160, 512].flatMap { size in
            let heads = size > 100 ? 1 : 3
            return [
                attention(batch: 1, tokens: 33, keys: 33, heads: heads, size: size),
                attention(batch: 2, tokens: 33, keys: 77, heads: heads, size: size),
                attention(batch: 2, tokens: 33, keys: 33, heads: heads, size: size, causal: true),
            ]
        }
        + [1, 5, 77, 130].flatMap { tokens in
            [
                attention(batch: 1, tokens: tokens, keys: tokens, heads: 2, size: 40),
                attention(batch: 3, tokens: tokens, keys: 77, heads: 2, size: 64),
                attention(batch: 2, tokens: tokens, keys: tokens, heads: 2, size: 32, causal: true),
            ]
        }
        + [
            attention(batch: 1, tokens: 130, keys: 130, heads: 1, size: 512),
            attention(batch: 3, tokens: 77, keys: 77, heads: 5, size: 64, causal: true),
            attention(batch: 1, tokens: 65, keys: 1, heads: 2, size: 16),
            attention(batch: 2, tokens: 64, keys: 256, heads: 4, size: 24),
            // Sharp: one key outweighs the others, as late layers have it.
            attention(batch: 1, tokens: 33, keys: 77, heads: 2, size: 64, scale: 4),
            sharedAttention,
        ]

    private static func groupNorm(
        _ source: Shape, _ groups: Int, epsilon: Float = 1e-5, silu: Bool
    ) -> OperatorCase {
        let name = "group_norm \(source) in \(groups) groups, epsilon \(epsilon)\(silu ? "+silu" : "")"
        return OperatorCase(name, .long) {
            let graph = $0.graph
            let input = $0.input("source", source, mean: 1, scale: 2)
            let weight = try $0.weight("weight", [source.channels], mean: 1)
            let bias = try $0.weight("bias", [source.channels])
            try $0.output {
                let normed = try graph.groupNorm(
                    input, weight: weight, bias: bias, groups: groups, epsilon: epsilon, label: "norm")
                return silu ? graph.activation(normed, .silu, label: "activation") : normed
            }
        }
    }

    private static func layerNorm(_ source: Shape, epsilon: Float = 1e-5) -> OperatorCase {
        OperatorCase("layer_norm \(source), epsilon \(epsilon)", .long) {
            let graph = $0.graph
            let input = $0.input("source", source, mean: -1, scale: 2)
            let weight = try $0.weight("weight", [source.channels], mean: 1)
            let bias = try $0.weight("bias", [source.channels])
            try $0.output {
                try graph.layerNorm(input, weight: weight, bias: bias, epsilon: epsilon, label: "norm")
            }
        }
    }

    private static func attention(
        batch: Int, tokens: Int, keys: Int, heads: Int, size: Int, causal: Bool = false, scale: Double = 1
    ) -> OperatorCase {
        let name =
            "attention batch \(batch), \(tokens) tokens, \(keys) keys, \(heads) heads of \(size)"
            + (causal ? ", causal" : "") + (scale == 1 ? "" : ", scaled by \(scale)")
        return OperatorCase(name, .long) {
            let graph = $0.graph
            let query = $0.input("query", [batch, tokens, heads * size], scale: scale)
            let key = $0.input("key", [batch, keys, heads * size])
            let value = $0.input("value", [batch, keys, heads * size])
            try $0.output {
                try graph.attention(
                    query: query, key: key, value: value, heads: heads, causal: causal, label: "attention")
            }
        }
    }

    /// One tensor as query, key and value.
    private static let sharedAttention = OperatorCase("attention of one tensor with itself", .long) {
        let graph = $0.graph
        let tokens = $0.input("tokens", [2, 19, 48])
        try $0.output { try graph.attention(query: tokens, key: tokens, value: tokens, heads: 6, label: "attention") }
    }
}
