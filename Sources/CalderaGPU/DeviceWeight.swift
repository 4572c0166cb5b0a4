import CalderaGraph

/// A weight in the form in which a kernel reads it.
struct WeightKey: Hashable {
    let name: String
    let packing: Packing
    let dtype: DType
}

/// A weight that a plan's kernels read, and what it takes of device memory.
struct DeviceWeight {
    static let alignment = 256

    let key: WeightKey
    /// Under PyTorch.
    let shape: Shape
    /// The latest stage that reads it.
    var stage: Stage

    var bytes: Int { shape.count * key.dtype.size }
    /// Bytes with the padding behind it.
    var size: Int { DeviceWeight.padded(bytes) }
    /// Biases and the vectors of norms always stay: together they are nothing beside the matrices.
    var isVector: Bool { shape.rank <= 1 }

    static func padded(_ bytes: Int) -> Int { divideUp(max(bytes, 1), alignment) * alignment }
}

/// Everything that a plan's kernels will ask of memory, found by lowering every node without any.
final class MemoryCensus: OperandSource {
    private(set) var weights: [DeviceWeight] = []
    private(set) var constants: Set<[Float]> = []
    /// Bytes of the most demanding node.
    private(set) var scratchSize = 0
    private(set) var indices: [WeightKey: Int] = [:]
    private let plan: Plan
    /// By stage and node: the weights that it reads, by their places in `weights`.
    private var usesOfPrompt: [[Int]] = []
    private var usesOfStep: [[Int]] = []
    private var stage = Stage.prompt
    private var uses: [Int] = []

    /// Throws when a node has no kernel.
    init(_ plan: Plan, _ lowering: (any OperandSource) -> Lowering) throws {
        self.plan = plan
        let lowering = lowering(self)
        usesOfPrompt = try plan.promptNodes.map { try count($0, .prompt, lowering) }
        usesOfStep = try plan.stepNodes.map { try count($0, .step, lowering) }
    }

    /// For each node of the stage, the places of its weights in `weights`.
    func uses(_ stage: Stage) -> [[Int]] { stage == .step ? usesOfStep : usesOfPrompt }

    private func count(_ node: Node, _ stage: Stage, _ lowering: Lowering) throws -> [Int] {
        self.stage = stage
        uses = []
        _ = try lowering.dispatches(for: node)
        return uses
    }

    func operand(_ tensor: Tensor) -> Operand {
        guard let location = plan.location(of: tensor) else { return .none }
        // Two regions are two pieces of memory.
        let region: UInt64 = location.region == .arena ? 1 << 48 : 1 << 49
        return Operand(address: region + UInt64(location.offset), bytes: tensor.shape.count * tensor.dtype.size)
    }

    func weight(_ name: String, shape: Shape, packing: Packing, dtype: DType) -> Operand {
        let key = WeightKey(name: name, packing: packing, dtype: dtype)
        let index = indices[key] ?? weights.count
        if index == weights.count {
            indices[key] = index
            weights.append(DeviceWeight(key: key, shape: shape, stage: stage))
        }
        weights[index].stage = max(weights[index].stage, stage)
        if !uses.contains(index) { uses.append(index) }
        return Operand(address: 0, bytes: weights[index].bytes)
    }

    func constant(_ values: [Float]) -> Operand {
        constants.insert(values)
        return Operand(address: 0, bytes: values.count * 4)
    }

    func scratch(bytes: Int) -> Operand {
        scratchSize = max(scratchSize, bytes)
        return Operand(address: 0, bytes: bytes)
    }
}
