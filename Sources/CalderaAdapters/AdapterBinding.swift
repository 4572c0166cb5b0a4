import CalderaGraph

/// One adapter file matched with the layers of one model.
struct AdapterBinding {
    private struct Bound {
        let module: AdapterModule
        let match: ModuleTable.Match
    }

    let unmatched: UnmatchedKeys
    private let file: AdapterFile
    private let tables: [String: ModuleTable]
    private let bound: [Bound]

    /// Throws when the file was made for another model, or nothing in it matches.
    init(_ file: AdapterFile, _ tables: [String: ModuleTable]) throws {
        try ModelWidth.check(file, tables["unet"])
        self.file = file
        self.tables = tables
        var bound: [Bound] = []
        var lost: [String] = file.strangers
        for module in file.modules {
            if let match = Self.match(module, tables) {
                bound.append(Bound(module: module, match: match))
            } else {
                lost += module.keys
            }
        }
        unmatched = UnmatchedKeys(path: file.path, keys: lost.sorted())
        guard !bound.isEmpty else {
            throw UnmatchedKeys.failure([unmatched], remedy: "It was made for another kind of model.")
        }
        self.bound = try Self.withoutRepetitions(bound, file)
    }

    private static func match(_ module: AdapterModule, _ tables: [String: ModuleTable]) -> ModuleTable.Match? {
        let candidates = module.component.candidates(in: Set(tables.keys))
        return candidates.lazy.compactMap { tables[$0]?.match(module.path) }.first
    }

    /// Some files hold a layer twice, under its original name and under diffusers': the latter counts, as in diffusers.
    private static func withoutRepetitions(_ bound: [Bound], _ file: AdapterFile) throws -> [Bound] {
        struct Layer: Hashable {
            let component: String
            let path: String
        }
        var kept: [Layer: Bound] = [:]
        for item in bound {
            let layer = Layer(component: item.match.component, path: item.match.path)
            guard let other = kept[layer] else {
                kept[layer] = item
                continue
            }
            guard other.match.isOriginalName != item.match.isOriginalName else {
                let names = [other, item].flatMap { $0.module.keys.prefix(1) }.joined(separator: " and ")
                throw CalderaError("\(file.path) changes the layer \(item.match.path) twice: \(names).")
            }
            if other.match.isOriginalName { kept[layer] = item }
        }
        return bound.filter { item in
            kept[Layer(component: item.match.component, path: item.match.path)]?.module.path == item.module.path
        }
    }

    /// What the file changes: component, weight name, change. Throws where a shape does not fit its weight.
    func changes(_ item: AdapterStack.Item) throws -> [(component: String, weight: String, change: WeightChange)] {
        guard item.unetWeight.isFinite, item.textWeight.isFinite else {
            throw CalderaError.usage("The weight of \(file.path) is not a finite number.")
        }
        var result: [(component: String, weight: String, change: WeightChange)] = []
        for bound in bound {
            let component = bound.match.component
            let strength = component == "unet" ? item.unetWeight : item.textWeight
            for change in bound.module.changes {
                let name = "\(bound.match.path).\(change.target.rawValue)"
                try check(change, name, bound)
                if strength != 0 { result.append((component, name, WeightChange(change, strength: strength))) }
            }
        }
        return result
    }

    private func check(_ change: ModuleChange, _ name: String, _ bound: Bound) throws {
        guard let shape = tables[bound.match.component]?.shape(name) else {
            throw CalderaError(
                "\(file.path) changes \(name), which this model's \(bound.match.component) does not have.")
        }
        let changed = change.delta.shape
        guard changed == shape else {
            throw CalderaError(
                "\(file.path) was made for another model: it changes \(bound.module.path) by \(changed), and "
                    + "\(name) of this model's \(bound.match.component) is \(shape).")
        }
        guard let magnitude = change.magnitude else { return }
        guard magnitude.fits(shape) else {
            let tensor = magnitude.tensor
            throw CalderaError(
                "\(file.path): \(tensor.name) has the shape \(tensor.shape), which does not fit \(name) \(shape).")
        }
    }
}

/// Tells models apart by what their cross-attention reads.
enum ModelWidth {
    private static let families = [
        768: "Stable Diffusion 1.x", 1024: "Stable Diffusion 2.x", 2048: "SDXL", 1280: "the SDXL refiner",
    ]

    /// Throws when the file's cross-attention layers are of another width than the UNet's.
    static func check(_ file: AdapterFile, _ unet: ModuleTable?) throws {
        guard let width = width(file), let expected = unet?.crossAttentionWidth, width != expected else { return }
        let made = families[width].map { "\($0) (cross-attention width \(width))" } ?? "cross-attention width \(width)"
        throw CalderaError("\(file.path) was made for \(made); this model has \(expected).")
    }

    private static func width(_ file: AdapterFile) -> Int? {
        let module = file.modules.first { module in
            [.unet, .unnamed].contains(module.component)
                && ["attn2_to_k", "attn2_to_v"].contains { module.path.hasSuffix($0) }
        }
        return module?.changes.first { $0.target == .weight }?.delta.shape.columns
    }
}
