import CalderaGraph

/// A place in a model's weight names from which layers are built: `layers("resnets.0")` steps inward,
/// `layers.linear(...)` makes the layer whose weights are `<path>.weight` and `<path>.bias`.
struct Layers {
    let graph: Graph
    let path: String

    init(_ graph: Graph, path: String = "") {
        self.graph = graph
        self.path = path
    }

    func callAsFunction(_ name: String) -> Layers { Layers(graph, path: path.isEmpty ? name : "\(path).\(name)") }

    func weight(_ name: String, _ shape: Shape) throws -> Tensor {
        try graph.weight(path.isEmpty ? name : "\(path).\(name)", shape)
    }

    /// [..., in] -> [..., features].
    func linear(_ source: Tensor, _ features: Int, bias: Bool = true) throws -> Tensor {
        let matrix = try weight("weight", [features, source.shape.channels])
        return try graph.linear(
            source, weight: matrix, bias: bias ? weight("bias", [features]) : nil, label: path)
    }

    /// [B, H, W, in] -> [B, H', W', channels], a square kernel.
    func convolution(
        _ source: Tensor, _ channels: Int, kernel: Int, stride: Int = 1, padding: Padding, bias: Bool = true
    ) throws -> Tensor {
        let matrix = try weight("weight", [channels, source.shape.channels, kernel, kernel])
        return try graph.convolution(
            source, weight: matrix, bias: bias ? weight("bias", [channels]) : nil, stride: stride, padding: padding,
            label: path)
    }

    /// A 3x3 convolution that keeps the size.
    func convolution3x3(_ source: Tensor, _ channels: Int, bias: Bool = true) throws -> Tensor {
        try convolution(source, channels, kernel: 3, padding: Padding(1), bias: bias)
    }

    /// A 1x1 convolution: a matrix product over the channels with a weight [channels, in, 1, 1].
    func convolution1x1(_ source: Tensor, _ channels: Int) throws -> Tensor {
        let matrix = try weight("weight", [channels, source.shape.channels, 1, 1])
        return try graph.linear(source, weight: matrix, bias: weight("bias", [channels]), label: path)
    }

    func groupNorm(_ source: Tensor, groups: Int, epsilon: Float) throws -> Tensor {
        let channels = source.shape.channels
        return try graph.groupNorm(
            source, weight: weight("weight", [channels]), bias: weight("bias", [channels]), groups: groups,
            epsilon: epsilon, label: path)
    }

    func layerNorm(_ source: Tensor, epsilon: Float) throws -> Tensor {
        let channels = source.shape.channels
        return try graph.layerNorm(
            source, weight: weight("weight", [channels]), bias: weight("bias", [channels]), epsilon: epsilon,
            label: path)
    }

    func rmsNorm(_ source: Tensor, epsilon: Float) throws -> Tensor {
        try graph.rmsNorm(source, weight: weight("weight", [source.shape.channels]), epsilon: epsilon, label: path)
    }

    func activation(_ source: Tensor, _ function: Activation) -> Tensor {
        graph.activation(source, function, label: path)
    }

    func add(_ left: Tensor, _ right: Tensor) throws -> Tensor { try graph.add(left, right, label: path) }
}
