/// A value of a pickle. Containers are numbers into the pickle's heap, so that values that hold one another, however
/// deep or in circles, are let go of without recursion.
enum PickleValue: Sendable {
    case none
    case bool(Bool)
    case int(Int)
    case double(Double)
    case string(String)
    case tuple(Int)
    case list(Int)
    case dictionary(Int)
    /// A `torch.nn.ParameterDict` with its state.
    case module(Int)
    case storage(Int)
    case tensor(Int)
    case global(PickleGlobal)
    /// What a global made that tensors do not need; it stands in its place and holds nothing.
    case inert(PickleGlobal.Inert)
    /// Bytes, and integers of more than 64 bits: nothing that Caldera reads.
    case opaque
}

/// A mapping in the order of its writing; of a key that occurs twice the last value holds.
struct PickledDictionary: Sendable {
    /// Whether it is an OrderedDict, which may carry attributes (torch's state dicts do).
    let isOrdered: Bool
    var members: [(key: PickleValue, value: PickleValue)] = []
}

/// What a tensor's storage is called in the archive, and what it holds.
struct PickledStorage: Sendable {
    let key: String
    /// nil for an untyped one.
    let type: TorchType?
    let byteCount: Int
}

/// Everything that the values of one pickle refer to.
struct PickleHeap: Sendable {
    var tuples: [[PickleValue]] = []
    var lists: [[PickleValue]] = []
    var dictionaries: [PickledDictionary] = []
    /// The state of each module: `.none` before it is set.
    var modules: [PickleValue] = []
    var storages: [PickledStorage] = []
    var tensors: [PickledTensor] = []
}

/// A pickle that has been read.
struct PickleDocument: Sendable {
    let root: PickleValue
    let heap: PickleHeap

    /// The members of a dictionary, or the parameters of a module, that have strings for keys; nil for other values.
    func members(_ value: PickleValue) -> [String: PickleValue]? {
        switch value {
        case .dictionary(let number):
            return heap.dictionaries[number].members.reduce(into: [:]) { members, member in
                if case .string(let name) = member.key { members[name] = member.value }
            }
        case .module(let number):
            guard case .dictionary(let state) = heap.modules[number],
                case .dictionary(let parameters)? = members(.dictionary(state))?["_parameters"]
            else { return [:] }
            return members(.dictionary(parameters))
        default:
            return nil
        }
    }
}
