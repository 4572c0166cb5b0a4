import CalderaGraph

/// What a node has to do, whatever kernel does it.
package struct NodeWork: Sendable, Equatable {
    /// Additions and multiplications of products, convolutions and attention, each multiply-add counted as two; 0 for
    /// everything else, which memory bounds.
    package let operations: Double
    /// Bytes that must at least be moved: every input and the output once.
    package let bytes: Double

    package init(_ node: Node) {
        operations = NodeWork.operations(node)
        bytes = (node.inputs + [node.output]).reduce(0) { $0 + Double($1.shape.count * $1.dtype.size) }
    }

    private static func operations(_ node: Node) -> Double {
        let result = Double(node.output.shape.count)
        switch node.op {
        case .matmul(let epilogue):
            return 2 * result * Double(epilogue.columnsPerResult * node.sourceChannels)
        case .convolution(let shape, _):
            let taps = shape.kernelHeight * shape.kernelWidth
            return 2 * result * Double(node.inputs[0].shape.channels * taps)
        case .attention:
            // Both products, over every pair of a query and a key: a causal kernel is credited with the pairs it skips.
            return 4 * result * Double(node.inputs[1].shape[1])
        case .cachedAttention:
            // Over every entry that the cache may hold.
            return 4 * result * Double(node.inputs[1].shape[1])
        default:
            return 0
        }
    }
}
