import CalderaGraph

/// Where a node's operands lie.
struct NodeAddresses {
    let node: Node
    let inputs: [ByteRange]
    let output: ByteRange

    /// Operand `index`; nowhere when the addresses are unknown, as when a plan is only explained.
    func input(_ index: Int?) -> ByteRange {
        guard let index, inputs.indices.contains(index) else { return ByteRange(start: 0, count: 0) }
        return inputs[index]
    }
}

/// Memory of an executable that no value of the plan owns.
struct Scratch {
    /// Partial sums of group norms, one after another.
    let sums: ByteRange
    /// The frequency table of each sinusoid node, by its output's id.
    let frequencies: [Int: ByteRange]
}

/// Turns nodes into kernel calls: which kernel, which arguments, how many workgroups.
struct Lowering {
    let plan: Plan
    let choice: KernelChoice
    /// Nil where calls are only described.
    let scratch: Scratch?

    /// The calls of a node, in order. Throws `CalderaError` for a combination of types that no kernel has.
    func calls(_ node: Node, _ at: NodeAddresses) throws -> [KernelCall] {
        switch node.op {
        case .matmul(let epilogue): [matmul(node, epilogue, at)]
        case .convolution(let convolution, let epilogue): [self.convolution(node, convolution, epilogue, at)]
        case .groupNorm(let groups, let epsilon, let activation):
            groupNorm(node, groups: groups, epsilon: epsilon, activation: activation, at)
        case .layerNorm(let epsilon): [layerNorm(node, epsilon: epsilon, at)]
        case .attention(let attention): [self.attention(node, attention, at)]
        default: [try elementwise(node, at)]
        }
    }

    /// The storage type of a kernel's build: two bytes or four.
    static func build(_ dtype: DType) -> String { dtype.size == 2 ? "FP16" : "FP32" }
}

extension Activation {
    /// The number in `activation.glsl`.
    var kernelCode: UInt32 {
        switch self {
        case .silu: 1
        case .gelu: 2
        case .quickGELU: 3
        case .relu: 4
        }
    }
}

extension Optional where Wrapped == Activation {
    var kernelCode: UInt32 { map(\.kernelCode) ?? 0 }
}
