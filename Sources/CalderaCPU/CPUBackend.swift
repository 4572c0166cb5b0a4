import CalderaGraph

/// This machine's processor: oneDNN for matrix products and convolutions, plain Swift for everything else.
///
/// Activations and packed weights have the plan's element type, fp32 or bf16; sums, norm statistics and softmax are
/// fp32. Equal inputs give equal bits.
public final class CPUBackend: Backend {
    public let name = "cpu"
    public let limits = PlanLimits(alignment: HostMemory.alignment)
    private let engine: OneDNNEngine
    private let counter = MemoryCounter()

    public var memoryLimit: Int?

    /// - Parameter memoryLimit: bytes that may be allocated at one time; nil for what the system has.
    /// Throws when oneDNN cannot be started.
    public init(memoryLimit: Int? = nil) throws {
        engine = try OneDNNEngine()
        self.memoryLimit = memoryLimit
    }

    /// Bytes that this backend allocated at most at one time: weights, values, working memory, and what waits in
    /// `countHostMemory`.
    public var peakMemory: Int { counter.peak }

    public func resetPeakMemory() { counter.resetPeak() }

    public let countsHostMemory = true

    public func countHostMemory(_ bytes: Int) { counter.add(bytes) }

    /// What the system could still give without swapping, or what is left of the limit where that is less; nil where
    /// nobody says.
    public var availableMemory: Int? {
        let left = memoryLimit.map { max(0, $0 - counter.now) }
        return [left, HostMemory.available].compactMap { $0 }.min()
    }

    /// The loaded oneDNN's version, such as "2.6.3".
    public var libraryVersion: String { OneDNNEngine.version }

    /// Threads that products and loops run on.
    public var threads: Int { Parallel.threads }

    /// fp32 everywhere; bf16 where the processor itself multiplies it (AVX-512 BF16, AMX); never fp16, for which
    /// processors have no arithmetic that oneDNN would use.
    public func supports(_ precision: Precision) -> Bool {
        switch precision {
        case .fp32: true
        case .bf16: engine.hasNativeBFloat16
        case .fp16: false
        }
    }

    public func forecast(_ plan: Plan, weights: any WeightSource, budget: Int?) throws -> MemoryForecast {
        try check(plan.dtype)
        return try CPUExecutable.forecast(plan, weights: weights, engine: engine, budget: budget)
    }

    public func compile(_ plan: Plan, weights: any WeightSource, budget: Int?) throws -> any Executable {
        try check(plan.dtype)
        return try CPUExecutable(plan, weights: weights, engine: engine, counter: counter, budget: budget)
    }

    private func check(_ dtype: DType) throws {
        switch dtype {
        case .float32: return
        case .bfloat16:
            if engine.hasNativeBFloat16 { return }
            throw CalderaError.usage(
                "This processor has no bf16 arithmetic (AVX-512 BF16 or AMX): use the precision fp32.")
        case .float16:
            throw CalderaError.usage("The processor does not compute in fp16: use the precision fp32 or bf16.")
        case .int32:
            throw CalderaError.usage("The processor cannot compute a model in int32: use the precision fp32 or bf16.")
        }
    }

    public func describe(_ node: Node, in plan: Plan) -> String {
        let type = node.inputs.first.map { CPUBackend.abbreviation($0.dtype) } ?? ""
        switch node.op {
        case .matmul(let epilogue):
            let (source, columns) = (node.inputs[0].shape, node.output.shape.channels)
            if plan.isIncremental, source.rows <= StepBuilder.mostRows {
                return "rows \(source.rows)x\(columns)x\(source.channels) \(type)\(CPUBackend.text(epilogue))"
            }
            let depth = "\(source.channels)" + (node.joinedSource.map { "+\($0.shape.channels)" } ?? "")
            let kind = epilogue.gated ? "two products" : "matmul"
            return "oneDNN \(kind) \(source.rows)x\(columns)x\(depth) \(type)\(CPUBackend.text(epilogue))"
        case .convolution(let shape, let epilogue):
            if DoubledConvolution(node, shape, epilogue) != nil {
                return "oneDNN convolution 3x3 of twice the size by 2x2 \(type)\(CPUBackend.text(epilogue))"
            }
            let kernel = "\(shape.kernelHeight)x\(shape.kernelWidth)"
            let stride = shape.stride == 1 ? "" : " stride \(shape.stride)"
            let enlarged = shape.enlarged.map { " of \($0.height)x\($0.width) enlarged in bands" } ?? ""
            return "oneDNN convolution \(kernel)\(stride)\(enlarged) \(type)\(CPUBackend.text(epilogue))"
        case .attention(let attention):
            let shape = AttentionShape(node, attention)
            let tile = "\(shape.tileRows) queries by \(shape.blockKeys) keys"
            return "oneDNN products with fp32 softmax, tiles of \(tile), \(attention.heads) heads of "
                + "\(attention.headSize)\(attention.causal ? ", causal" : "") \(type)"
        default:
            return "\(node.op.name) \(type)"
        }
    }

    private static func abbreviation(_ dtype: DType) -> String {
        switch dtype {
        case .float32: "fp32"
        case .float16: "fp16"
        case .bfloat16: "bf16"
        case .int32: "int32"
        }
    }

    /// ", epilogue bias+silu", or nothing.
    private static func text(_ epilogue: Epilogue) -> String {
        epilogue.parts.isEmpty ? "" : ", epilogue " + epilogue.parts.joined(separator: "+")
    }
}
