import CalderaGraph

/// The weights of one executable: each packed once, tensor by tensor, as its layer wants it.
///
/// No second copy of a model is ever made: a tensor whose type differs from the plan's passes through a staging buffer
/// of its own size, and embedding tables stay in the file, from which single rows are read as they are needed.
final class WeightPacking {
    private let plan: Plan
    private let source: any WeightSource
    private let counter: MemoryCounter
    private var packed: [String: [(primitive: Primitive, memory: HostMemory)]] = [:]
    private var vectors: [String: HostMemory] = [:]
    private var dense: [String: HostMemory] = [:]
    private var staging: HostMemory?
    /// Bytes of everything that stays.
    private(set) var size = 0

    init(_ plan: Plan, source: any WeightSource, counter: MemoryCounter) {
        self.plan = plan
        self.source = source
        self.counter = counter
    }

    /// Gives the staging buffer back once everything has been packed.
    func finish() { staging = nil }

    /// The weight in the layout of `primitive`; layers that share a weight and a layout share the memory.
    func pack(_ tensor: Tensor, for primitive: Primitive, label: String) throws -> UnsafeRawPointer {
        let name = try weightName(tensor, label)
        if let known = packed[name]?.first(where: { $0.primitive.hasSameWeightsLayout(as: primitive) }) {
            return UnsafeRawPointer(known.memory.base)
        }
        let memory = try allocate(primitive.weightsSize, name)
        try withElements(name, tensor, label) { bytes, dtype in
            if dtype == plan.dtype {
                try primitive.pack(bytes, dtype, into: memory.base, label: name)
                return
            }
            let staged = try stage(tensor.shape.count * plan.dtype.size)
            convert(bytes, dtype, to: staged, plan.dtype, count: tensor.shape.count)
            try primitive.pack(staged, plan.dtype, into: memory.base, label: name)
        }
        packed[name, default: []].append((primitive, memory))
        return UnsafeRawPointer(memory.base)
    }

    /// A bias or the vector of a norm, in fp32 whatever the plan computes in: such vectors are small.
    func vector(_ tensor: Tensor, label: String) throws -> UnsafePointer<Float> {
        let name = try weightName(tensor, label)
        let memory = try vectors[name] ?? copy(name, tensor, as: .float32, label)
        vectors[name] = memory
        return UnsafePointer(memory.base.assumingMemoryBound(to: Float.self))
    }

    /// A weight that is an ordinary operand, in the plan's element type.
    func operand(_ tensor: Tensor, label: String) throws -> UnsafeRawPointer {
        let name = try weightName(tensor, label)
        let memory = try dense[name] ?? copy(name, tensor, as: tensor.dtype, label)
        dense[name] = memory
        return UnsafeRawPointer(memory.base)
    }

    /// Lends the bytes of a weight where they lie in its file, after checking that they are all there.
    func withElements<Result>(
        _ tensor: Tensor, label: String, _ body: (UnsafeRawPointer, DType) throws -> Result
    ) throws -> Result {
        try withElements(try weightName(tensor, label), tensor, label, body)
    }

    private func withElements<Result>(
        _ name: String, _ tensor: Tensor, _ label: String, _ body: (UnsafeRawPointer, DType) throws -> Result
    ) throws -> Result {
        guard let info = source.info(name) else { throw CalderaError("\(label): there is no weight named \(name).") }
        return try source.withBytes(name) { bytes in
            guard let base = bytes.baseAddress, bytes.count == tensor.shape.count * info.dtype.size else {
                throw CalderaError(
                    "\(label): the weight \(name) has \(bytes.count) bytes where \(tensor.shape) of \(info.dtype) "
                        + "needs \(tensor.shape.count * info.dtype.size).")
            }
            return try body(base, info.dtype)
        }
    }

    private func weightName(_ tensor: Tensor, _ label: String) throws -> String {
        guard let name = plan.weightName(tensor) else {
            throw CalderaError(
                "\(label): an operand \(tensor.shape) must be a weight of the model, not a computed value.")
        }
        return name
    }

    private func copy(_ name: String, _ tensor: Tensor, as dtype: DType, _ label: String) throws -> HostMemory {
        let memory = try allocate(tensor.shape.count * dtype.size, name)
        try withElements(name, tensor, label) { bytes, stored in
            convert(bytes, stored, to: memory.base, dtype, count: tensor.shape.count)
        }
        return memory
    }

    private func allocate(_ size: Int, _ name: String) throws -> HostMemory {
        let memory = try HostMemory(size, for: "the weight \(name)", counter: counter)
        self.size += size
        return memory
    }

    /// A buffer of at least `size` bytes whose contents the next call may overwrite.
    private func stage(_ size: Int) throws -> UnsafeMutableRawPointer {
        if let staging, staging.size >= size { return staging.base }
        staging = nil
        let memory = try HostMemory(size, for: "the conversion of weights", counter: counter)
        staging = memory
        return memory.base
    }
}
