import CalderaGraph
import CalderaVulkan

/// Turns a node into the kernels that compute it. Each operator stands in one place: which kernel, its constants, how
/// many workgroups, what it reads and writes.
struct Lowering {
    let device: VulkanDeviceInfo
    let plan: Plan
    let memory: any OperandSource
    /// Which variants kernels are run in.
    var choices = KernelChoices()

    /// The kernels of a node, in order.
    func dispatches(for node: Node) throws -> [Dispatch] {
        try check(node)
        switch node.op {
        case .matmul(let epilogue): return try matmul(node, epilogue)
        case .convolution(let convolution, let epilogue): return try self.convolution(node, convolution, epilogue)
        case .groupNorm(let groups, let epsilon, let activation):
            return try groupNorm(node, groups: groups, epsilon: epsilon, activation)
        case .layerNorm(let epsilon): return [try layerNorm(node, epsilon: epsilon)]
        case .rmsNorm(let epsilon): return [try rmsNorm(node, epsilon: epsilon)]
        case .cachedAttention(let attention): return [try cachedAttention(node, attention)]
        case .writeCache: return [try writeCache(node)]
        case .rotary(let headSize): return [try rotary(node, headSize: headSize)]
        case .swiglu: return [try swiglu(node)]
        case .attention(let attention): return [try self.attention(node, attention)]
        case .embedding: return [try embedding(node)]
        case .sinusoid(let channels, let flip, let shift):
            return [try sinusoid(node, channels: channels, cosinesFirst: flip, shift: shift)]
        case .activation(let function): return [try activation(node, function)]
        case .scaleShift(let scale, let shift): return [try scaleShift(node, scale: scale, shift: shift)]
        case .add: return [try add(node)]
        case .outerSum: return [try outerSum(node)]
        case .geglu: return [try geglu(node)]
        case .concat(let axis): return [try concat(node, axis: axis)]
        case .upsampleNearest: return [try upsampleNearest(node)]
        case .select: return [try select(node)]
        case .gatherToken: return [try gatherToken(node)]
        case .weightedSum(let columns): return [try weightedSum(node, columns: columns)]
        case .blend: return [try blend(node)]
        case .rescale(let column): return try rescale(node, column: column)
        case .cast: return [try cast(node)]
        case .increment: return [try increment(node)]
        case .assign: return try assign(node)
        }
    }

    /// Kernels count elements in 32 bits, of which addressing may use 31.
    private func check(_ node: Node) throws {
        for tensor in node.inputs + [node.output] {
            guard tensor.shape.count <= Int(Int32.max) else {
                throw CalderaError("\(node.label): a tensor of shape \(tensor.shape) has more than 2^31 elements.")
            }
            guard tensor.dtype != .bfloat16 else {
                throw CalderaError(
                    "\(node.label): Vulkan computes in fp16 or fp32, not in bf16: use --precision fp16 or --device cpu."
                )
            }
        }
    }

    // MARK: Operands

    /// A weight in `dtype`, or a value where it lies.
    func operand(_ tensor: Tensor, packing: Packing = .plain, as dtype: DType? = nil) throws -> Operand {
        if let name = plan.weightName(tensor) {
            return try memory.weight(name, shape: tensor.shape, packing: packing, dtype: dtype ?? tensor.dtype)
        }
        guard packing == .plain, dtype == nil || dtype == tensor.dtype else {
            throw CalderaError("A computed \(tensor.dtype) tensor \(tensor.shape) cannot serve as this node's weight.")
        }
        return try memory.operand(tensor)
    }

    /// The kernel's build for an element type.
    func variant(_ kernel: String, _ dtype: DType) -> String { "\(kernel).\(dtype.size == 2 ? "FP16" : "FP32")" }

    /// Whether four elements can be loaded at one time wherever a run of `extents` elements starts.
    func allowsFours(_ operands: [Operand], _ dtype: DType, extents: [Int]) -> Bool {
        allowsRuns(of: 4, operands, dtype, extents: extents)
    }

    /// The same for any number of elements.
    func allowsRuns(of length: Int, _ operands: [Operand], _ dtype: DType, extents: [Int]) -> Bool {
        extents.allSatisfy { $0.isMultiple(of: length) }
            && operands.allSatisfy { $0.isAligned(to: length * dtype.size) }
    }

    /// Threads of a workgroup that has to wait for its members: one subgroup on software drivers, which pay for each wait.
    func team(_ threads: Int) -> Int {
        device.kind == .software ? min(threads, max(device.subgroupSize, 1)) : threads
    }
}

extension VulkanDeviceInfo {
    /// A grid of one dimension, folded where the device allows no such length; kernels undo it with `workgroupIndex`.
    func folded(_ groups: Int) -> (x: Int, y: Int, z: Int) {
        let x = max(1, min(groups, maxWorkgroupCount.0))
        return (x, max(1, (groups + x - 1) / x), 1)
    }
}

extension Activation {
    /// As Shaders/include/activation.glsl numbers the functions; 0 is none.
    var kernelCode: UInt32 {
        switch self {
        case .silu: 1
        case .gelu: 2
        case .quickGELU: 3
        case .relu: 4
        case .tanh: 5
        }
    }
}

extension Bool {
    /// As a specialization constant.
    var constant: UInt32 { self ? 1 : 0 }
}

func divideUp(_ left: Int, _ right: Int) -> Int { (left + right - 1) / right }
