import CalderaGraph

/// Makes a module of the tensors that belong to it.
struct AdapterModuleBuilder {
    let component: AdapterComponent
    let path: String
    let dottedPath: String
    let file: String
    let settings: PEFTSettings
    private(set) var parts: [AdapterPart: AdapterTensor] = [:]

    init(_ key: AdapterKey, file: String, settings: PEFTSettings) {
        component = key.component
        path = key.module
        dottedPath = key.dottedModule
        self.file = file
        self.settings = settings
    }

    /// Throws where the module has such a part already.
    mutating func add(_ tensor: AdapterTensor, as part: AdapterPart) throws {
        if let other = parts.updateValue(tensor, forKey: part) {
            throw CalderaError("\(file): \(other.name) and \(tensor.name) are the same part of one module.")
        }
    }

    /// Throws where parts are missing, left over, or do not fit each other.
    func module() throws -> AdapterModule {
        var rest = parts
        let changes = try build(&rest)
        for part in [AdapterPart.alpha, .scale, .magnitude, .outputMagnitude] { rest[part] = nil }
        guard !changes.isEmpty, rest.isEmpty else {
            let lone = (rest.isEmpty ? parts : rest).values.map(\.name).sorted().joined(separator: ", ")
            throw CalderaError("\(file): \(lone) lacks its counterpart: download or train the file again.")
        }
        let keys = parts.values.map(\.name).sorted()
        for change in changes { try check(change.delta) }
        return AdapterModule(component: component, path: path, keys: keys, changes: changes)
    }

    private func check(_ delta: AdapterDelta) throws {
        for matrix in delta.matrices { try matrix.check() }
        guard delta.isPossible else {
            let shapes = delta.matrices.map(\.shape.description).joined(separator: " and ")
            throw CalderaError("\(file): the factors \(shapes) of the module \(path) make no weight together.")
        }
    }

    /// The changes that `rest` makes; takes out of it what they use.
    private func build(_ rest: inout [AdapterPart: AdapterTensor]) throws -> [ModuleChange] {
        var changes: [ModuleChange] = []
        if let change = try lowRank(&rest) { changes.append(change) }
        if let change = try hadamard(&rest) { changes.append(change) }
        if let change = try kronecker(&rest) { changes.append(change) }
        let ownScale = try parts[.scale]?.scalar() ?? 1
        let plain: [(AdapterPart, ModuleChange.Target, Double)] = [
            (.difference, .weight, ownScale), (.biasDifference, .bias, 1),
            (.normDifference, .weight, 1), (.normBiasDifference, .bias, 1),
        ]
        for (part, target, scale) in plain {
            guard let tensor = rest.removeValue(forKey: part) else { continue }
            changes.append(change(target, .matrix(.dense(tensor)), scale))
        }
        if let bias = rest.removeValue(forKey: .biasOfUp), let rank = changes.first?.delta.rank {
            changes.append(change(.bias, .matrix(.dense(bias)), try scale(rank: rank)))
        }
        return changes
    }

    private func change(_ target: ModuleChange.Target, _ delta: AdapterDelta, _ scale: Double) -> ModuleChange {
        let magnitude =
            parts[.outputMagnitude].map(AdapterMagnitude.init(ofOutputs:))
            ?? parts[.magnitude].map(AdapterMagnitude.init(byShapeOf:))
        return ModuleChange(
            target: target, delta: delta, scale: scale, magnitude: target == .weight ? magnitude : nil)
    }

    /// LoRA (Hu et al. 2021) and LoCon: up · down, with a core between them for some convolutions.
    private func lowRank(_ rest: inout [AdapterPart: AdapterTensor]) throws -> ModuleChange? {
        guard let up = rest[.up], let down = rest[.down] else { return nil }
        let core = rest[.middle]
        for part in [AdapterPart.up, .down, .middle] { rest[part] = nil }
        let matrix: StoredMatrix =
            core.map { .tucker(core: $0, up: .init(tensor: up, isTransposed: false), down: down) }
            ?? .product(up: up, down: down)
        return change(.weight, .matrix(matrix), try scale(rank: matrix.rank))
    }

    private func hadamard(_ rest: inout [AdapterPart: AdapterTensor]) throws -> ModuleChange? {
        let first = factors(.hadamardFirstA, .hadamardFirstB, core: .hadamardFirstCore, &rest)
        let second = factors(.hadamardSecondA, .hadamardSecondB, core: .hadamardSecondCore, &rest)
        switch (first, second) {
        case (let first?, let second?):
            return change(.weight, .hadamard(first, second), try scale(rank: first.rank))
        case (nil, nil):
            return nil
        default:
            throw CalderaError("\(file): the LoHa module \(path) lacks one of its halves: download the file again.")
        }
    }

    /// LyCORIS ignores alpha where both matrices are stored as such.
    private func kronecker(_ rest: inout [AdapterPart: AdapterTensor]) throws -> ModuleChange? {
        let first =
            rest.removeValue(forKey: .kroneckerFirst).map(StoredMatrix.dense)
            ?? factors(.kroneckerFirstA, .kroneckerFirstB, core: nil, &rest)
        let second =
            rest.removeValue(forKey: .kroneckerSecond).map(StoredMatrix.dense)
            ?? factors(.kroneckerSecondA, .kroneckerSecondB, core: .kroneckerSecondCore, &rest)
        switch (first, second) {
        case (let first?, let second?):
            let rank = first.rank ?? second.rank
            return change(.weight, .kronecker(first, second), rank == nil ? 1 : try scale(rank: rank))
        case (nil, nil):
            return nil
        default:
            throw CalderaError("\(file): the LoKr module \(path) lacks one of its factors: download the file again.")
        }
    }

    /// a · b, or with a core its Tucker form, whose a LyCORIS stores as [rank, rows].
    private func factors(
        _ a: AdapterPart, _ b: AdapterPart, core: AdapterPart?, _ rest: inout [AdapterPart: AdapterTensor]
    ) -> StoredMatrix? {
        guard let up = rest[a], let down = rest[b] else { return nil }
        rest[a] = nil
        rest[b] = nil
        guard let core, let middle = rest.removeValue(forKey: core) else { return .product(up: up, down: down) }
        return .tucker(core: middle, up: .init(tensor: up, isTransposed: true), down: down)
    }

    /// The file's own scale, else alpha / rank, else what PEFT's settings say, else 1.
    private func scale(rank: Int?) throws -> Double {
        if let scale = try parts[.scale]?.scalar() { return scale }
        guard let rank, rank > 0 else { return 1 }
        if let alpha = try parts[.alpha]?.scalar() { return alpha / Double(rank) }
        return try settings.scale(of: dottedPath, component: component, rank: rank) ?? 1
    }
}

extension AdapterDelta {
    /// The rank of a plain low-rank change.
    fileprivate var rank: Int? {
        guard case .matrix(let matrix) = self else { return nil }
        return matrix.rank
    }
}
