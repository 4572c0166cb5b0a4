import CalderaGraph

/// The kinds of work that are measured apart.
package enum KernelFamily: String, CaseIterable, Codable, Sendable {
    case gemm
    case conv
    case attention
    case groupnorm
    case layernorm
    case elementwise

    /// The family of an operation; nil for what takes no time worth measuring: tables, counters, sums of latents.
    init?(_ op: Op) {
        switch op {
        case .matmul: self = .gemm
        case .convolution: self = .conv
        case .attention, .cachedAttention: self = .attention
        case .groupNorm: self = .groupnorm
        case .layerNorm, .rmsNorm: self = .layernorm
        case .activation, .scaleShift, .add, .geglu, .swiglu, .rotary, .concat, .upsampleNearest, .cast:
            self = .elementwise
        case .embedding, .sinusoid, .outerSum, .select, .gatherToken, .weightedSum, .blend, .rescale, .increment,
            .writeCache, .assign:
            return nil
        }
    }
}

/// One operation with the shapes of its operands: what a kernel is measured on.
package struct KernelShape: Sendable {
    struct Input: Sendable {
        let shape: Shape
        let dtype: DType
        let isWeight: Bool
    }

    package let family: KernelFamily
    let op: Op
    /// Of a language model, whose plans keep weights in another order and make few rows in another way.
    let isIncremental: Bool
    let inputs: [Input]
    let output: Shape
    let dtype: DType

    /// A node of a plan; nil for what is not measured.
    init?(_ node: Node, in plan: Plan) {
        guard let family = KernelFamily(node.op) else { return nil }
        self.family = family
        op = node.op
        isIncremental = plan.isIncremental
        inputs = node.inputs.map {
            Input(shape: $0.shape, dtype: $0.dtype, isWeight: plan.weightName($0) != nil)
        }
        output = node.output.shape
        dtype = node.output.dtype
    }

    /// What tells it apart in a report, and from one report to the next.
    package var name: String {
        switch op {
        case .matmul(let epilogue):
            let depth = inputs[1].shape.count / max(inputs[1].shape[0], 1)
            let columns = output.channels * epilogue.columnsPerResult
            return "gemm \(output.rows)x\(columns)x\(depth)" + Self.suffix(epilogue)
                + (inputs.count > epilogue.inputCount ? " of two sources" : "")
        case .convolution(let shape, let epilogue):
            let kernel = "\(shape.kernelHeight)x\(shape.kernelWidth)"
            let stride = shape.stride == 1 ? "" : " stride \(shape.stride)"
            let enlarged = shape.enlarged.map { " enlarged to \($0.height)x\($0.width)" } ?? ""
            return "conv \(kernel)\(stride) \(Self.text(inputs[0].shape)) to \(output.channels)\(enlarged)"
                + Self.suffix(epilogue)
        case .attention(let attention):
            let tokens = "\(inputs[0].shape[1]) to \(inputs[1].shape[1]) tokens"
            let heads = "\(output[0])x\(attention.heads) heads of \(attention.headSize)"
            return "attention \(heads), \(tokens)\(attention.causal ? ", causal" : "")"
        case .cachedAttention(let attention):
            let tokens = "\(output[1]) to \(inputs[1].shape[1]) tokens"
            let shared = attention.keyHeads == attention.heads ? "" : " over \(attention.keyHeads)"
            return
                "attention \(output[0])x\(attention.heads)\(shared) heads of \(attention.headSize), \(tokens) of a cache"
        case .groupNorm(let groups, _, let activation):
            return "groupnorm \(Self.text(output)) in \(groups)" + (activation.map { " \($0.rawValue)" } ?? "")
                + (inputs.count > 3 ? " of two sources" : "")
        case .layerNorm:
            return "layernorm \(output.rows)x\(output.channels)"
        default:
            return "\(op.name) " + inputs.map { Self.text($0.shape) }.joined(separator: ", ")
        }
    }

    private static func text(_ shape: Shape) -> String { shape.extents.map(String.init).joined(separator: "x") }

    private static func suffix(_ epilogue: Epilogue) -> String {
        epilogue.parts.isEmpty ? "" : " " + epilogue.parts.joined(separator: "+")
    }

    /// The operation alone, `copies` times over operands of their own: inputs `x<copy>.<index>`, weights
    /// `w<copy>.<index>`, outputs `y<copy>`.
    /// - Parameter dtype: another element type for everything; nil for the shape's own.
    func plan(copies: Int, limits: PlanLimits, dtype other: DType? = nil) throws -> Plan {
        let graph = Graph(dtype: other ?? dtype)
        // What tells a backend that a plan is one of a language model's.
        if isIncremental { _ = graph.cache("cache", [1, 1, 1]) }
        for copy in 0..<copies {
            let operands = try inputs.enumerated().map { index, input in
                if input.isWeight { return try graph.weight("w\(copy).\(index)", input.shape) }
                return graph.input("x\(copy).\(index)", input.shape, inputType(input, other))
            }
            graph.output("y\(copy)", graph.addNode(op, operands, output, other ?? dtype, label: name))
        }
        return try Planner.plan(graph, limits: limits, fusing: false)
    }
    /// Positions are whole numbers, and angles fp32, whatever a model computes in.
    private func inputType(_ input: Input, _ other: DType?) -> DType {
        input.dtype == dtype ? other ?? dtype : input.dtype
    }

    /// What integer inputs hold: the position of the first new token, such that the last one ends the cache or the table.
    var position: Int32 {
        switch op {
        case .cachedAttention, .rotary: Int32(clamping: inputs[1].shape.extents[entriesAxis] - output[1])
        default: 0
        }
    }

    /// Of keys [B, P, C], and of a table of angles [P, d].
    private var entriesAxis: Int { inputs[1].shape.rank == 3 ? 1 : 0 }
}
