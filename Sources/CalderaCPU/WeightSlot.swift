import CalderaGraph

/// A weight in the layout that a primitive wants: in memory of its own, or in the slot that streamed weights share.
final class PackedWeight {
    let name: String
    let tensor: Tensor
    let arrangement: KernelArrangement
    let primitive: Primitive
    /// Bytes, packed.
    let size: Int
    /// Bytes from one of the arrangement's parts to the next.
    private let partSize: Int
    /// The latest stage whose layers read it.
    var stage: Stage
    /// Where it stays; nil when it streams.
    var memory: HostMemory?
    fileprivate weak var slot: WeightSlot?
    /// Its place in the order in which streamed weights are used.
    fileprivate var position = 0

    init(name: String, tensor: Tensor, arrangement: KernelArrangement, primitive: Primitive, stage: Stage) {
        self.name = name
        self.tensor = tensor
        self.arrangement = arrangement
        self.primitive = primitive
        self.stage = stage
        partSize = primitive.weightsSize.roundedUp(to: HostMemory.alignment)
        size = arrangement.parts == 1 ? primitive.weightsSize : arrangement.parts * partSize
    }

    /// Elements that are packed.
    var count: Int { arrangement.count(tensor.shape) }

    /// Whether oneDNN packs the file's own bytes, if they are of the type `stored`.
    func isPackedAsStored(_ stored: DType, _ dtype: DType) -> Bool { arrangement.isStored && stored == dtype }

    /// Packs arranged elements of the type `dtype` into memory of `size` bytes.
    func pack(_ elements: UnsafeRawPointer, _ dtype: DType, into memory: UnsafeMutableRawPointer) throws {
        for part in 0..<arrangement.parts {
            try primitive.pack(
                elements + part * (count / arrangement.parts) * dtype.size, dtype, into: memory + part * partSize,
                label: name)
        }
    }

    /// Where the primitive finds it once `load` has been called.
    var address: UnsafeRawPointer? { address(ofPart: 0) }

    func address(ofPart part: Int) -> UnsafeRawPointer? {
        (memory ?? slot?.memory).map { UnsafeRawPointer($0.base + part * partSize) }
    }

    /// Packs it into the slot where it streams and another weight is there.
    func load() throws { try slot?.load(self) }
}

/// The memory that the weights which do not stay pass through, one after the other, in the order of the layers.
///
/// Packing runs on the same team of threads as the layers do: with a thread of its own it would take a core from them
/// for just as long. What goes on behind the computation is the reading: the file's next tensors are on their way from
/// the disk while a layer runs.
final class WeightSlot {
    /// How many weights are asked of the disk ahead of their use.
    static let lookahead = 4

    let memory: HostMemory
    private unowned let packing: WeightPacking
    let staging: Scratch
    private var order: [PackedWeight] = []
    private var occupant: PackedWeight?

    init(_ packing: WeightPacking, memory: HostMemory, staging: Scratch) {
        self.packing = packing
        self.memory = memory
        self.staging = staging
    }

    /// The next in the order of use.
    func add(_ weight: PackedWeight) {
        weight.slot = self
        weight.position = order.count
        order.append(weight)
    }

    func load(_ weight: PackedWeight) throws {
        if occupant === weight { return }
        occupant = nil
        let ahead = order[(weight.position + WeightSlot.lookahead) % order.count]
        packing.source(of: ahead.name).willRead(ahead.name)
        try packing.pack(weight, into: memory.base, staging: staging.bytes)
        occupant = weight
    }

    /// Forgets what lies there when it is one of these: it has been replaced.
    func forget(_ names: Set<String>) {
        if let name = occupant?.name, names.contains(name) { occupant = nil }
    }
}
