/// Which of a plan's two memory regions a value lies in.
public enum Region: Sendable, Hashable {
    /// Intermediates: memory that values share in turn.
    case arena
    /// Inputs, states, outputs and what the prompt stage leaves for the steps: memory of their own.
    case persistent
}

/// Where a value lies: a region and an offset in bytes.
public struct Location: Sendable, Hashable {
    public let region: Region
    public let offset: Int
}

/// A graph made ready to run: fused nodes in order, split by stage, every value placed.
public struct Plan: Sendable {
    /// A value that the host writes or reads by name.
    public struct Port: Sendable {
        public let name: String
        public let tensor: Tensor
    }

    public let dtype: DType
    public let values: [Value]
    /// What runs once when the prompt, schedule and noise have been written.
    public let promptNodes: [Node]
    /// What runs at every step.
    public let stepNodes: [Node]
    public let inputs: [Port]
    public let states: [Port]
    public let outputs: [Port]
    /// The weights that the nodes read, under PyTorch's shapes.
    public let weights: [Port]
    /// Bytes of the arena, and of the largest set of intermediates that are alive at once.
    public let arenaSize: Int
    public let largestLiveSet: Int
    public let persistentSize: Int
    public let limits: PlanLimits
    /// Whether there are caches: the prompt stage takes many tokens at once and the step stage one of each sequence, over
    /// the same weights. Backends then keep matrices row by row, so that both stages share them.
    package let isIncremental: Bool
    let locations: [Int: Location]
    let storages: [(id: Int, offset: Int)]
    /// The part of the model that this is, for profiles and reports: "unet", "vae"; empty where nobody has said.
    public package(set) var part = ""

    public func nodes(_ stage: Stage) -> [Node] { stage == .step ? stepNodes : promptNodes }

    /// Where a tensor's first byte lies; nil for weights, which the backend packs in its own way.
    public func location(of tensor: Tensor) -> Location? {
        let storage = storages[tensor.id]
        guard let base = locations[storage.id] else { return nil }
        return Location(region: base.region, offset: base.offset + storage.offset * tensor.dtype.size)
    }

    /// The weight's name when the tensor is one.
    public func weightName(_ tensor: Tensor) -> String? {
        if case .weight(let name) = values[storages[tensor.id].id].origin { return name }
        return nil
    }

    /// The value that owns a tensor's memory, by its id.
    package func storage(of tensor: Tensor) -> Int { storages[tensor.id].id }

    /// Where that value's memory comes from: never a view.
    package func origin(of tensor: Tensor) -> Origin { values[storage(of: tensor)].origin }

    /// Throws unless the source holds every one of these weights that the plan uses, in its shape.
    package func checkReplacement(_ names: Set<String>, from source: any WeightSource) throws {
        for port in weights where names.contains(port.name) {
            guard let info = source.info(port.name) else {
                throw CalderaError("There is no weight named \(port.name) to put in the place of the model's.")
            }
            guard Plan.squeezed(info.shape) == Plan.squeezed(port.tensor.shape) else {
                throw CalderaError(
                    "The weight \(port.name) is \(info.shape) where the model's is \(port.tensor.shape).")
            }
        }
    }

    /// Bytes of all weights in the plan's element type.
    public var weightSize: Int { weights.reduce(0) { $0 + $1.tensor.shape.count * dtype.size } }

    /// The named input or state.
    public func port(_ name: String) throws -> Port {
        guard let port = (inputs + states).first(where: { $0.name == name }) else {
            throw CalderaError("The plan has no input named \(name); it has \((inputs + states).map(\.name)).")
        }
        return port
    }

    /// The named output or state.
    public func source(_ name: String) throws -> Port {
        guard let port = (outputs + states).first(where: { $0.name == name }) else {
            throw CalderaError("The plan has no output named \(name); it has \((outputs + states).map(\.name)).")
        }
        return port
    }

    /// A linear layer [out, in] and a convolution [out, in, 1, 1] are the same numbers.
    private static func squeezed(_ shape: Shape) -> Shape {
        Shape(Array(shape.extents.reversed().drop { $0 == 1 }.reversed()))
    }

    /// Throws one error that lists every weight which the source lacks or holds in another shape.
    public func check(_ weights: any WeightSource, part: String) throws {
        var faults: [String] = []
        for port in self.weights {
            guard let info = weights.info(port.name) else {
                faults.append("\(port.name) \(port.tensor.shape) is missing")
                continue
            }
            if Plan.squeezed(info.shape) != Plan.squeezed(port.tensor.shape) {
                faults.append("\(port.name) is \(info.shape) where \(port.tensor.shape) is needed")
            }
        }
        if faults.isEmpty { return }
        let noun = faults.count == 1 ? "tensor does" : "\(faults.count) tensors do"
        throw CalderaError(
            "The weights of \(part) do not fit its config.json: \(noun) not match: \(faults.joined(separator: "; ")).")
    }
}
