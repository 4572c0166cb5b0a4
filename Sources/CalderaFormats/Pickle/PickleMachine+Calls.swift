import CalderaGraph

/// The instructions that in Python would import, call and fill objects.
extension PickleMachine {
    /// A hundred times as many as large checkpoints have.
    private static let mostTensors = 1 << 18

    mutating func pushGlobal(module: String, name: String) throws {
        guard let global = PickleGlobal(module: module, name: name) else {
            throw forbidden("asks to call \(printable("\(module).\(name)"))")
        }
        push(.global(global))
    }

    mutating func pushStackGlobal() throws {
        let names = try pop(2)
        guard case .string(let module) = names[0], case .string(let name) = names[1] else {
            throw forbidden("asks to call something whose name is no text")
        }
        try pushGlobal(module: module, name: name)
    }

    /// The storage that a persistent id stands for: `("storage", class, key, device, count of elements)`; an untyped
    /// storage counts bytes.
    mutating func storage(_ id: PickleValue) throws -> PickleValue {
        guard let parts = tuple(id), parts.count == 5, case .string("storage") = parts[0],
            case .global(let storageClass) = parts[1], case .string(let key) = parts[2],
            case .string = parts[3], case .int(let count) = parts[4], count >= 0
        else { throw forbidden("refers to something that is no tensor's storage") }
        let type: TorchType?
        switch storageClass {
        case .storage(let typed): type = typed
        case .untypedStorage: type = nil
        default: throw forbidden("refers to something that is no tensor's storage")
        }
        let (byteCount, overflow) = count.multipliedReportingOverflow(by: type?.size ?? 1)
        guard !overflow else { throw broken("a storage of \(count) elements") }
        heap.storages.append(PickledStorage(key: key, type: type, byteCount: byteCount))
        return .storage(heap.storages.count - 1)
    }

    /// What a call of a global would give.
    mutating func reduce() throws {
        let operands = try pop(2)
        guard case .global(let global) = operands[0], let arguments = tuple(operands[1]) else {
            throw forbidden("calls something that is no known name")
        }
        switch global {
        case .orderedDict where arguments.isEmpty: pushDictionary(isOrdered: true)
        case .size where arguments.count == 1 && tuple(arguments[0]) != nil: push(arguments[0])
        case .rebuildTensor where (6...7).contains(arguments.count): try pushTensor(arguments, type: nil)
        case .rebuildTensorOfType where (7...8).contains(arguments.count):
            guard case .global(.type(let type)) = arguments[6] else { throw broken("a tensor without a type") }
            try pushTensor(arguments, type: type)
        case .rebuildParameter where arguments.count == 3:
            guard case .tensor = arguments[0] else { throw broken("a parameter that is no tensor") }
            push(arguments[0])
        case .inert(let kind) where kind.isMade: push(.inert(kind))
        default: throw forbidden("calls a known name in an unknown way")
        }
    }

    /// An object that is made without its initializer: modules alone.
    mutating func makeObject() throws {
        let operands = try pop(2)
        guard case .global(.parameterDict) = operands[0], tuple(operands[1])?.isEmpty == true else {
            throw forbidden("makes an object that is no module of parameters")
        }
        heap.modules.append(.none)
        push(.module(heap.modules.count - 1))
    }

    /// The state of the object on top. Attributes of a state dict (`_metadata`) and of numpy's types are dropped.
    mutating func build() throws {
        let state = try pop()
        switch try top() {
        case .module(let number): heap.modules[number] = state
        case .dictionary(let number) where heap.dictionaries[number].isOrdered: return
        case .inert(let kind) where kind.hasState: return
        default: throw forbidden("sets the state of an object that has none")
        }
    }

    /// Arguments: storage, offset, shape, strides, whether it needs gradients, hooks.
    private mutating func pushTensor(_ arguments: [PickleValue], type: TorchType?) throws {
        guard case .storage(let number) = arguments[0], case .int(let offset) = arguments[1],
            let extents = integers(arguments[2]), let strides = integers(arguments[3])
        else { throw broken("a tensor of the wrong parts") }
        let storage = heap.storages[number]
        guard let type = type ?? storage.type else { throw broken("a tensor without a type") }
        guard
            let tensor = PickledTensor(
                type: type, extents: extents, strides: strides, offset: offset, storage: storage)
        else { throw broken("a tensor of impossible shape \(extents.prefix(8)) in \(storage.byteCount) bytes") }
        guard heap.tensors.count < Self.mostTensors else { throw broken("too many tensors") }
        heap.tensors.append(tensor)
        push(.tensor(heap.tensors.count - 1))
    }

    private func tuple(_ value: PickleValue) -> [PickleValue]? {
        guard case .tuple(let number) = value else { return nil }
        return heap.tuples[number]
    }

    /// A shape or strides; nil when there are more than a tensor has axes.
    private func integers(_ value: PickleValue) -> [Int]? {
        guard let items = tuple(value), items.count <= PickledTensor.highestRank else { return nil }
        let integers = items.compactMap { item -> Int? in
            guard case .int(let integer) = item else { return nil }
            return integer
        }
        return integers.count == items.count ? integers : nil
    }
}
