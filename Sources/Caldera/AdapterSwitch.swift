import CalderaAdapters
import CalderaDiffusion
import CalderaFormats
import CalderaGraph

/// The low-rank adapters that are merged into a model's weights at present, and their exchange between pictures. The
/// base's files are never opened again: weights that change are merged anew from where they are mapped.
final class AdapterSwitch {
    /// The weights of each component that adapters may change.
    private let components: [String: SwitchableWeights]
    private let folder: AdapterFolder?
    private let allowsPartial: Bool
    private var applied: [AdapterSpec] = []
    /// Of the adapters that are merged at present.
    private(set) var warnings: [String] = []
    private var changed: [String: Set<String>] = [:]
    private var files: [String: AdapterFile] = [:]

    init(_ model: LoadedModel, options: ModelOptions) {
        components = model.switchable
        folder = options.adapterFolder.map(AdapterFolder.init)
        allowsPartial = options.allowsPartialAdapters
    }

    /// The adapters that a prompt names, with the paths of their files. Throws usage errors for names that are not there.
    func named(in tags: PromptTags) throws -> [AdapterSpec] {
        try tags.adapters.map { spec in
            guard let folder else {
                throw CalderaError.usage(
                    "The prompt asks for the LoRA \(spec.name): name the folder that holds it with --lora-folder.")
            }
            return AdapterSpec(
                try folder.find(spec.name), textWeight: spec.textWeight, unetWeight: spec.unetWeight)
        }
    }

    /// Merges these adapters and no others. Returns the UNet's weights that are not what they were before.
    /// Throws `CalderaError`, with nothing changed, for files that are broken or fit another model.
    func apply(_ adapters: [AdapterSpec]) throws -> Set<String> {
        guard adapters != applied else { return [] }
        let items = try adapters.map { spec in
            AdapterStack.Item(try file(spec.name), unetWeight: spec.unetWeight, textWeight: spec.textWeight)
        }
        let stack = try AdapterStack(items, for: components.mapValues(\.base), allowPartial: allowsPartial)
        let adapted = try components.reduce(into: [:]) { result, component in
            result[component.key] = try stack.adapted(component.value.base, component: component.key)
        }
        let before = changed["unet"] ?? []
        for (name, weights) in components {
            weights.use(adapters.isEmpty ? nil : adapted[name])
            changed[name] = stack.changedNames(name)
        }
        applied = adapters
        warnings = [stack.unmatchedWarning].compactMap { $0 }
        return before.union(changed["unet"] ?? [])
    }

    private func file(_ path: String) throws -> AdapterFile {
        if let known = files[path] { return known }
        let file = try AdapterFile(path)
        files[path] = file
        return file
    }
}
