import CalderaGraph

/// What a pickle of tensors holds: the tensors by name, and the plain values at its top.
struct PickledContents {
    /// Names under which training programs keep the dictionary of tensors, in the order in which they are tried:
    /// PyTorch Lightning; Real-ESRGAN and its like (averaged weights before the last ones); data-parallel training;
    /// others; textual-inversion embeddings.
    private static let wrapperNames = ["state_dict", "params_ema", "params", "module", "model", "string_to_param"]
    private static let mostWrappers = 4

    private(set) var tensors: [String: PickledTensor] = [:]
    private(set) var wrappers: [String] = []
    private(set) var integers: [String: Int] = [:]
    private(set) var strings: [String: String] = [:]

    /// Throws `CalderaError` when there is no tensor with a name.
    init(_ document: PickleDocument, path: String) throws {
        guard var members = document.members(document.root) else {
            throw CalderaError("\(path) holds no tensors by name: save a dictionary of them, such as a state dict.")
        }
        for (name, value) in members {
            if case .int(let integer) = value { integers[name] = integer }
            if case .string(let string) = value { strings[name] = string }
        }
        while wrappers.count < Self.mostWrappers, let inner = Self.unwrap(members, document) {
            wrappers.append(inner.name)
            members = inner.members
        }
        for (name, value) in members {
            if case .tensor(let number) = value { tensors[name] = document.heap.tensors[number] }
        }
        guard !tensors.isEmpty else {
            throw CalderaError("\(path) holds no tensors by name: save a dictionary of them, such as a state dict.")
        }
    }

    /// The first of the customary names that holds a dictionary with anything in it.
    private static func unwrap(
        _ members: [String: PickleValue], _ document: PickleDocument
    ) -> (name: String, members: [String: PickleValue])? {
        for name in wrapperNames {
            if let inner = members[name].flatMap(document.members), !inner.isEmpty { return (name, inner) }
        }
        return nil
    }
}
