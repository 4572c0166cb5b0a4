import CalderaGraph

/// The weights of one executable: each packed, tensor by tensor, as its layer wants it, once or at each use.
///
/// No second copy of a model is ever made: a tensor whose type differs from the plan's passes through a staging buffer
/// of its own size, the file's pages leave this process's memory behind each tensor, and embedding tables stay in the
/// file, from which single rows are read as they are needed.
///
/// While steps are made, weights are only named; `load` and `stream` then read those that stay, and say where the others
/// will pass through.
final class WeightPacking {
    /// A bias, the vector of a norm or a weight that is an ordinary operand: small, and always in memory.
    private struct Vector {
        let name: String
        let tensor: Tensor
        let dtype: DType
        let memory: HostMemory
    }

    private struct VectorKey: Hashable {
        let name: String
        let dtype: DType
    }

    private let plan: Plan
    private let counter: MemoryCounter
    private let source: any WeightSource
    /// Where weights come from that have been replaced.
    private var replacements: [String: any WeightSource] = [:]
    /// In the order of their first use.
    private var packed: [PackedWeight] = []
    private var packedByName: [String: [PackedWeight]] = [:]
    private var vectors: [VectorKey: Vector] = [:]
    private var slot: WeightSlot?

    init(_ plan: Plan, source: any WeightSource, counter: MemoryCounter) {
        self.plan = plan
        self.source = source
        self.counter = counter
    }

    // MARK: What steps ask for

    /// The weight, arranged, in the layout of `primitive`; layers that share a weight and both of these share the memory.
    func pack(
        _ tensor: Tensor, _ arrangement: KernelArrangement, for primitive: Primitive, _ node: Node
    ) throws -> PackedWeight {
        let name = try weightName(tensor, node.label)
        if let known = packedByName[name]?.first(where: {
            $0.arrangement == arrangement && $0.primitive.hasSameWeightsLayout(as: primitive)
        }) {
            known.stage = max(known.stage, node.stage)
            return known
        }
        let weight = PackedWeight(
            name: name, tensor: tensor, arrangement: arrangement, primitive: primitive, stage: node.stage)
        packed.append(weight)
        packedByName[name, default: []].append(weight)
        return weight
    }

    /// A bias or the vector of a norm, in fp32 whatever the plan computes in: such vectors are small.
    func vector(_ tensor: Tensor, label: String) throws -> UnsafePointer<Float> {
        UnsafePointer(try vector(tensor, as: .float32, label).assumingMemoryBound(to: Float.self))
    }

    /// A weight that is an ordinary operand, in the plan's element type.
    func operand(_ tensor: Tensor, label: String) throws -> UnsafeRawPointer {
        UnsafeRawPointer(try vector(tensor, as: tensor.dtype, label))
    }

    /// Lends the bytes of a weight where they lie in its file, after checking that they are all there.
    func withElements<Result>(
        _ tensor: Tensor, label: String, _ body: (UnsafeRawPointer, DType) throws -> Result
    ) throws -> Result {
        try withElements(try weightName(tensor, label), tensor, body)
    }

    /// Says that a weight's bytes in its file are not needed for some time; nothing for a computed value.
    func release(_ tensor: Tensor) {
        if let name = plan.weightName(tensor) { source(of: name).release(name) }
    }

    private func vector(_ tensor: Tensor, as dtype: DType, _ label: String) throws -> UnsafeMutableRawPointer {
        let key = VectorKey(name: try weightName(tensor, label), dtype: dtype)
        if let known = vectors[key] { return known.memory.base }
        let memory = try HostMemory(tensor.shape.count * dtype.size, for: "the weight \(key.name)", counter: counter)
        vectors[key] = Vector(name: key.name, tensor: tensor, dtype: dtype, memory: memory)
        return memory.base
    }

    private func weightName(_ tensor: Tensor, _ label: String) throws -> String {
        guard let name = plan.weightName(tensor) else {
            throw CalderaError(
                "\(label): an operand \(tensor.shape) must be a weight of the model, not a computed value.")
        }
        return name
    }

    // MARK: Sizes

    var vectorSize: Int { vectors.values.reduce(0) { $0 + $1.memory.size } }

    /// Packed bytes of the weights, by their places among all, that `isCounted` picks.
    func size(_ isCounted: (Int) -> Bool) -> Int {
        packed.indices.reduce(0) { $0 + (isCounted($1) ? packed[$1].size : 0) }
    }

    /// Bytes of the largest conversion: oneDNN packs the plan's own type.
    var stagingSize: Int {
        packed.map { weight in
            guard let info = source(of: weight.name).info(weight.name),
                !weight.isPackedAsStored(info.dtype, plan.dtype)
            else { return 0 }
            return weight.count * plan.dtype.size
        }.max() ?? 0
    }

    func residency(budget: Int?) -> Residency {
        Residency(packed.map { .init(size: $0.size, stage: $0.stage) }, budget: budget, regions: 1)
    }

    /// Bytes of everything that stays, and of what the rest passes through.
    var residentSize: Int {
        vectorSize + packed.reduce(0) { $0 + ($1.memory?.size ?? 0) } + (slot?.memory.size ?? 0)
    }

    // MARK: Loading

    /// Reads the vectors and packs the weights that stay. Several packers are threads that take a weight each: they meet
    /// once, not at each weight. One packer has all threads at each of its weights.
    func load(_ residency: Residency, packers: Int) throws {
        for vector in vectors.values.sorted(by: { $0.name < $1.name }) { try fill(vector) }
        let staying = packed.indices.filter { residency.isResident[$0] }
        let share = stagingSize.roundedUp(to: HostMemory.alignment)
        try withStaging(share * packers) { staging in
            func pack(_ packer: Int, _ position: Int) throws {
                if let ahead = staying.dropFirst(position + WeightSlot.lookahead).first {
                    source(of: packed[ahead].name).willRead(packed[ahead].name)
                }
                let weight = packed[staying[position]]
                let memory = try HostMemory(weight.size, for: "the weight \(weight.name)", counter: counter)
                weight.memory = memory
                let own = UnsafeMutableRawBufferPointer(rebasing: staging[packer * share..<(packer + 1) * share])
                try self.pack(weight, into: memory.base, staging: own)
            }
            if packers > 1 { return try MatrixArithmetic.parallel(staying.count, pack) }
            for position in staying.indices { try pack(0, position) }
        }
    }

    /// Lends `size` bytes for conversions: the scratch memory where weights stream, since it has been made large enough.
    private func withStaging(_ size: Int, _ body: (UnsafeMutableRawBufferPointer) throws -> Void) throws {
        if let slot { return try body(slot.staging.bytes) }
        let memory = try conversionMemory(size)
        try body(UnsafeMutableRawBufferPointer(start: memory.base, count: size))
    }

    private func conversionMemory(_ size: Int) throws -> HostMemory {
        try HostMemory(size, for: "the conversion of weights", counter: counter)
    }

    /// Lets the weights that do not stay pass through one slot, packed in it at each use.
    func stream(_ residency: Residency, staging: Scratch) throws {
        if residency.largestStreamed == 0 { return }
        let memory = try HostMemory(residency.largestStreamed, for: "streamed weights", counter: counter)
        let slot = WeightSlot(self, memory: memory, staging: staging)
        self.slot = slot
        for index in packed.indices where !residency.isResident[index] { slot.add(packed[index]) }
    }

    /// See `Executable.replaceWeights`.
    func replace(_ names: Set<String>, from source: any WeightSource) throws {
        try plan.checkReplacement(names, from: source)
        for name in names { replacements[name] = source }
        for vector in vectors.values where names.contains(vector.name) { try fill(vector) }
        let changed = packed.filter { names.contains($0.name) }
        let resident = changed.filter { $0.memory != nil }
        let largest = resident.map { $0.count * plan.dtype.size }.max() ?? 0
        try withStaging(largest) { staging in
            for weight in resident {
                if let memory = weight.memory { try pack(weight, into: memory.base, staging: staging) }
            }
        }
        slot?.forget(names)
    }

    /// Where a weight comes from now.
    func source(of name: String) -> any WeightSource { replacements[name] ?? source }

    /// Packs a weight into memory of its size, by way of `staging` where its type is not the plan's or it is arranged.
    func pack(
        _ weight: PackedWeight, into memory: UnsafeMutableRawPointer, staging: UnsafeMutableRawBufferPointer
    ) throws {
        try withElements(weight.name, weight.tensor) { bytes, dtype in
            if weight.isPackedAsStored(dtype, plan.dtype) {
                return try weight.pack(bytes, dtype, into: memory)
            }
            let size = weight.count * plan.dtype.size
            // Too small only where a weight was replaced by one of another type than the model's.
            let own = try staging.count >= size ? nil : conversionMemory(size)
            guard let converted = own?.base ?? staging.baseAddress else { return }
            weight.arrangement.write(bytes, dtype, weight.tensor.shape, to: converted, plan.dtype)
            source(of: weight.name).release(weight.name)
            try weight.pack(converted, plan.dtype, into: memory)
        }
        source(of: weight.name).release(weight.name)
    }

    private func fill(_ vector: Vector) throws {
        try withElements(vector.name, vector.tensor) { bytes, stored in
            convert(bytes, stored, to: vector.memory.base, vector.dtype, count: vector.tensor.shape.count)
        }
        source(of: vector.name).release(vector.name)
    }

    private func withElements<Result>(
        _ name: String, _ tensor: Tensor, _ body: (UnsafeRawPointer, DType) throws -> Result
    ) throws -> Result {
        let source = source(of: name)
        guard let info = source.info(name) else { throw CalderaError("There is no weight named \(name).") }
        return try source.withBytes(name) { bytes in
            guard let base = bytes.baseAddress, bytes.count == tensor.shape.count * info.dtype.size else {
                throw CalderaError(
                    "The weight \(name) has \(bytes.count) bytes where \(tensor.shape) of \(info.dtype) needs "
                        + "\(tensor.shape.count * info.dtype.size).")
            }
            return try body(base, info.dtype)
        }
    }
}
