import CalderaGraph

/// What language models add.
extension OperatorCase {
    static let language: [OperatorCase] = rmsNorms + swiglus + tokenEmbeddings + rotaries + caches + rowProducts

    private static let rmsNorms: [OperatorCase] =
        ([([1, 1, 8], 1e-5), ([3, 5, 7], 1e-6), ([2, 33, 320], 1e-5), ([1, 1, 1280], 1e-5), ([65, 40], 1e-3)]
        as [(Shape, Float)]).map { shape, epsilon in
            OperatorCase("rms_norm \(shape), epsilon \(epsilon)", .long) {
                let graph = $0.graph
                let input = $0.input("source", shape, mean: -1, scale: 2)
                let weight = try $0.weight("weight", [shape.channels], mean: 1)
                try $0.output { try graph.rmsNorm(input, weight: weight, epsilon: epsilon, label: "norm") }
            }
        }

    private static let swiglus: [OperatorCase] =
        [Shape([1, 1]), [2, 5, 7], [1, 33, 320]].map { shape in
            OperatorCase("swiglu \(shape)") {
                let graph = $0.graph
                let (gate, value) = ($0.input("gate", shape, scale: 3), $0.input("value", shape))
                try $0.output { try graph.swiglu(gate: gate, value: value, label: "gate") }
            }
        }

    private static let tokenEmbeddings: [OperatorCase] =
        ([(1, 1, 8), (2, 77, 32), (3, 5, 7)] as [(Int, Int, Int)]).map { batch, tokens, channels in
            OperatorCase("embedding \(batch)x\(tokens) of \(channels), tokens alone") {
                let graph = $0.graph
                let ids = $0.integers("ids", [batch, tokens], (0..<batch * tokens).map { Int32($0 * 31 % 50) })
                let table = try $0.weight("tokens", [50, channels])
                try $0.output { try graph.embedding(ids: ids, tokens: table, label: "embedding") }
            }
        }

    private static let rotaries: [OperatorCase] =
        ([
            (1, 1, 1, 2, [0]), (2, 5, 3, 8, [0, 7]), (3, 1, 4, 64, [0, 31, 18]), (1, 19, 2, 40, [3]),
        ] as [(Int, Int, Int, Int, [Int32])]).map { batch, tokens, heads, size, first in
            OperatorCase("rotary \(batch)x\(tokens), \(heads) heads of \(size) at \(first)") {
                let graph = $0.graph
                let input = $0.input("source", [batch, tokens, heads * size])
                let table = $0.input("table", [32, size], .float32)
                let positions = $0.integers("positions", [batch], first)
                try $0.output {
                    try graph.rotary(input, table: table, positions: positions, headSize: size, label: "rotary")
                }
            }
        }

    // MARK: The cache

    private static let caches: [OperatorCase] =
        [
            written(batch: 1, entries: 3, channels: 5, tokens: 1, at: [2]),
            written(batch: 3, entries: 9, channels: 16, tokens: 4, at: [0, 5, 3]),
            // The last tokens have no room.
            written(batch: 2, entries: 7, channels: 8, tokens: 4, at: [5, 6]),
        ]
        + [2, 8, 20, 40, 64, 80, 128, 256].map {
            attended(batch: 2, prompt: 9, entries: 14, heads: 2, keyHeads: 2, size: $0, at: [4, 9])
        }
        + [
            attended(batch: 1, prompt: 1, entries: 1, heads: 1, keyHeads: 1, size: 16, at: [0]),
            attended(batch: 3, prompt: 5, entries: 12, heads: 6, keyHeads: 2, size: 32, at: [5, 1, 3], tokens: 7),
            attended(batch: 2, prompt: 140, entries: 150, heads: 4, keyHeads: 1, size: 24, at: [140, 66], tokens: 3),
            attended(batch: 1, prompt: 200, entries: 256, heads: 3, keyHeads: 3, size: 64, at: [199]),
            decoding,
        ]

    /// Every entry is written in the prompt stage, some again in the step stage.
    private static func written(
        batch: Int, entries: Int, channels: Int, tokens: Int, at first: [Int32]
    ) -> OperatorCase {
        OperatorCase("write_cache \(tokens) tokens at \(first) into \(batch)x\(entries) of \(channels)") {
            let graph = $0.graph
            let all = $0.input("all", [batch, entries, channels])
            let start = $0.integers("start", [batch], Array(repeating: 0, count: batch))
            let new = $0.input("new", [batch, tokens, channels], stage: .step)
            let positions = $0.integers("positions", [batch], first, stage: .step)
            try $0.output {
                let cache = graph.cache("cache", [batch, entries, channels])
                _ = try graph.write(all, to: cache, at: start, label: "all")
                return try graph.write(new, to: cache, at: positions, label: "new")
            }
        }
    }

    /// The prompt fills the first entries; the step's tokens write theirs and attend. Other entries are never written.
    private static func attended(
        batch: Int, prompt: Int, entries: Int, heads: Int, keyHeads: Int, size: Int, at first: [Int32], tokens: Int = 1
    ) -> OperatorCase {
        let name =
            "cached_attention \(batch)x\(tokens) at \(first) of \(entries), \(heads) heads of \(size) to \(keyHeads)"
        return OperatorCase(name, .long) {
            let graph = $0.graph
            let old = $0.input("old", [batch, prompt, keyHeads * size])
            let start = $0.integers("start", [batch], Array(repeating: 0, count: batch))
            let query = $0.input("query", [batch, tokens, heads * size], stage: .step)
            let (key, value) = (
                $0.input("key", [batch, tokens, keyHeads * size], stage: .step),
                $0.input("value", [batch, tokens, keyHeads * size], stage: .step)
            )
            let positions = $0.integers("positions", [batch], first, stage: .step)
            let (keys, values) = (
                graph.cache("keys", [batch, entries, keyHeads * size]),
                graph.cache("values", [batch, entries, keyHeads * size])
            )
            _ = try graph.write(old, to: keys, at: start, label: "old keys")
            _ = try graph.write(old, to: values, at: start, label: "old values")
            let allKeys = try graph.write(key, to: keys, at: positions, label: "keys")
            let allValues = try graph.write(value, to: values, at: positions, label: "values")
            try $0.output {
                try graph.cachedAttention(
                    query: query, keys: allKeys, values: allValues, positions: positions, heads: heads,
                    keyHeads: keyHeads, label: "attention")
            }
        }
    }

    /// A position that is a state: each replay attends to one entry more.
    private static let decoding = OperatorCase("graph: a cache that grows over replays", .long, replays: 5) {
        let graph = $0.graph
        let tokens = $0.input("tokens", [1, 6, 8])
        let position = $0.counter("position")
        let token = graph.activation(
            try graph.reshape(try graph.select(graph.reshape(tokens, [6, 8]), position, label: "token"), [1, 1, 8]),
            .tanh, label: "tanh")
        let cache = graph.cache("cache", [1, 6, 8])
        let seen = try graph.write(token, to: cache, at: position, label: "cache")
        try $0.output {
            try graph.cachedAttention(
                query: token, keys: seen, values: seen, positions: position, heads: 2, keyHeads: 2, label: "attention")
        }
        try graph.assign(graph.increment(position, label: "next"), to: position, label: "position")
    }

    // MARK: Products of few rows

    /// In plans with a cache, where weights lie row by row for both stages; nine rows are a matrix product again.
    private static let rowProducts: [OperatorCase] =
        [1, 2, 3, 4, 7, 8, 9].map { rowProduct($0, 48, 65, .withBias) }
        + [(1, 1), (7, 3), (33, 64), (64, 63), (250, 40), (1280, 70)].map { rowProduct(2, $0, $1, .plain) }
        + EpilogueVariant.few.map { rowProduct(3, 40, 24, $0) }

    private static func rowProduct(_ rows: Int, _ depth: Int, _ features: Int, _ variant: EpilogueVariant)
        -> OperatorCase
    {
        OperatorCase("matmul beside a cache [\(rows), 1, \(depth)] to \(features)\(variant.name)", .long) {
            let graph = $0.graph
            let source = $0.input("source", [rows, 1, depth])
            let position = $0.integers("positions", [rows], Array(repeating: 0, count: rows))
            let cache = graph.cache("cache", [rows, 1, depth])
            _ = try graph.write(source, to: cache, at: position, label: "cache")
            let weight = try $0.weight("weight", [features, depth])
            try $0.finish(variant, [rows, 1, features]) { bias in
                try graph.linear(source, weight: weight, bias: bias, label: "product")
            }
        }
    }
}
