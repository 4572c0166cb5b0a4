import CalderaDiffusion
import CalderaGraph
import CalderaLanguage
import CalderaModels

/// Where shapes come from.
package enum KernelSet: String, CaseIterable, Sendable {
    case sd15
    case sd21
    case sdxl
    /// The decoder of the Stable Diffusion models at 512 pixels.
    case vae
    /// TIPO-500M's language model: pieces of a prompt, and single tokens behind a full context.
    case llama
    /// Products of square matrices.
    case square

    /// The distinct shapes, and how many nodes have each: of the UNet at the model's own size with guidance, prompt and
    /// step stages together. In the order in which the model has them.
    package func shapes(_ precision: Precision, limits: PlanLimits) throws -> [(shape: KernelShape, count: Int)] {
        switch self {
        case .square: return try KernelSet.squares(precision)
        case .sd15: return KernelSet.distinct(in: try KernelSet.unet(.sd15, precision, limits))
        case .sd21: return KernelSet.distinct(in: try KernelSet.unet(.sd21, precision, limits))
        case .sdxl: return KernelSet.distinct(in: try KernelSet.unet(.sdxl, precision, limits))
        case .llama: return KernelSet.distinct(in: try KernelSet.language(precision, limits))
        case .vae:
            let plans = PipelinePlans(
                parts: try BenchmarkModel.open(.vae).parts, precision: precision, limits: limits)
            return KernelSet.distinct(in: try plans.decoder(height: 64, width: 64, dtype: plans.autoencoderDType))
        }
    }

    private static func unet(
        _ architecture: BenchmarkArchitecture, _ precision: Precision, _ limits: PlanLimits
    ) throws -> Plan {
        let model = try BenchmarkModel.open(architecture)
        var request = try model.planned(width: nil, height: nil)
        request.steps = 1
        request.scheduler = "euler"
        let plans = PipelinePlans(parts: model.parts, precision: precision, limits: limits)
        return try plans.denoiser(
            plans.denoising(request, schedule: model.parts.schedule(request), pictures: 1))
    }

    private static func language(_ precision: Precision, _ limits: PlanLimits) throws -> Plan {
        // As KBlueLeaf/TIPO-500M says in its config.json; trained with texts of 1024 tokens.
        let sizes = [
            "vocab_size": 32013, "hidden_size": 1280, "intermediate_size": 3840, "num_hidden_layers": 20,
            "num_attention_heads": 20, "max_position_embeddings": 2048,
        ]
        let config = JSONConfig(sizes.mapValues { .int($0) }, path: "TIPO-500M")
        let graph = try LanguagePlan.graph(
            Llama(LlamaConfig(config)), precision, batch: 1, context: 1024, chunk: 64)
        return try Planner.plan(graph, limits: limits)
    }

    private static func squares(_ precision: Precision) throws -> [(shape: KernelShape, count: Int)] {
        try [256, 512, 1024, 2048, 4096].map { side in
            (try KernelShape(.gemm, extents: [side, side, side], precision), 1)
        }
    }

    /// The shapes of a plan's nodes, with how often each comes.
    package static func distinct(in plan: Plan) -> [(shape: KernelShape, count: Int)] {
        var order: [String] = []
        var found: [String: (shape: KernelShape, count: Int)] = [:]
        for shape in (plan.promptNodes + plan.stepNodes).compactMap({ KernelShape($0, in: plan) }) {
            let name = shape.name
            if found[name] == nil { order.append(name) }
            found[name] = (shape, (found[name]?.count ?? 0) + 1)
        }
        return order.compactMap { found[$0] }
    }
}

extension KernelShape {
    /// How the numbers of `--shape` are read.
    package static func form(of family: KernelFamily) -> String {
        switch family {
        case .gemm: "ROWSxCOLUMNSxINNER"
        case .conv: "BATCHxHEIGHTxWIDTHxCHANNELSxRESULTS"
        case .attention: "BATCHxQUERIESxKEYSxHEADSxHEADSIZE"
        case .groupnorm: "BATCHxHEIGHTxWIDTHxCHANNELS"
        case .layernorm, .elementwise: "ROWSxCHANNELS"
        }
    }

    /// A shape of one's own: a product and a convolution (3x3) with bias, a group norm of 32 groups, a SiLU.
    /// Throws a usage error where the numbers do not make one.
    package init(_ family: KernelFamily, extents: [Int], _ precision: Precision) throws {
        let form = KernelShape.form(of: family)
        let wanted = form.split(separator: "x").count
        guard extents.count == wanted, extents.allSatisfy({ $0 > 0 }), Shape.checkedCount(extents) != nil else {
            throw CalderaError.usage("A shape for \(family.rawValue) is written \(form), of numbers of at least 1.")
        }
        let graph = Graph(dtype: precision.dtype)
        let result = try KernelShape.add(family, extents, to: graph)
        graph.output("y", result)
        let plan = try Planner.plan(graph, fusing: false)
        guard let node = graph.nodes.last, let shape = KernelShape(node, in: plan) else {
            throw CalderaError("There is nothing to measure in \(family.rawValue).")
        }
        self = shape
    }

    private static func add(_ family: KernelFamily, _ extents: [Int], to graph: Graph) throws -> Tensor {
        func input(_ extents: Int...) -> Tensor { graph.input("x\(extents)", Shape(extents), graph.dtype) }
        let name = family.rawValue
        switch family {
        case .gemm:
            return try graph.linear(
                input(extents[0], extents[2]), weight: graph.weight("w", [extents[1], extents[2]]),
                bias: graph.weight("b", [extents[1]]), label: name)
        case .conv:
            return try graph.convolution(
                input(extents[0], extents[1], extents[2], extents[3]),
                weight: graph.weight("w", [extents[4], extents[3], 3, 3]), bias: graph.weight("b", [extents[4]]),
                padding: Padding(1), label: name)
        case .attention:
            let channels = extents[3] * extents[4]
            let keys = input(extents[0], extents[2], channels)
            let values = graph.input("v", keys.shape, graph.dtype)
            return try graph.attention(
                query: graph.input("q", [extents[0], extents[1], channels], graph.dtype), key: keys, value: values,
                heads: extents[3], label: name)
        case .groupnorm:
            let source = input(extents[0], extents[1], extents[2], extents[3])
            return try graph.groupNorm(
                source, weight: graph.weight("w", [extents[3]]), bias: graph.weight("b", [extents[3]]), groups: 32,
                epsilon: 1e-5, label: name)
        case .layernorm:
            return try graph.layerNorm(
                input(extents[0], extents[1]), weight: graph.weight("w", [extents[1]]),
                bias: graph.weight("b", [extents[1]]), epsilon: 1e-5, label: name)
        case .elementwise:
            return graph.activation(input(extents[0], extents[1]), .silu, label: name)
        }
    }
}
