import CalderaGraph

/// Adapters, in the order in which they are applied, and what each of them changes in one model.
///
/// Everything that names and shapes can tell is checked when the stack is made. It holds no weights: `adapted` lends
/// them changed, any number of times, so that another stack on the same base is another picture's adapters.
package struct AdapterStack: Sendable {
    /// An adapter file and how strongly it is applied; 1 is as trained, negative weights turn it around.
    package struct Item: Sendable {
        package let file: AdapterFile
        package let unetWeight: Double
        package let textWeight: Double

        package init(_ file: AdapterFile, unetWeight: Double = 1, textWeight: Double = 1) {
            self.file = file
            self.unetWeight = unetWeight
            self.textWeight = textWeight
        }
    }

    /// The tensors that match nothing in the model, as `FILE: KEY`; empty unless these were allowed.
    package let unmatchedKeys: [String]
    private let changes: [String: [String: [WeightChange]]]

    /// Matches the adapters with a model.
    /// - Parameters:
    ///   - bases: the weights of `unet`, `text_encoder` and `text_encoder_2`, those that the model has, in diffusers'
    ///     and transformers' names.
    ///   - allowPartial: goes on where an adapter has parts that this model lacks.
    /// Throws `CalderaError` for an adapter that was made for another model, for tensors that match nothing (all of
    /// them in one message), and for weights that are not finite numbers.
    package init(_ items: [Item], for bases: [String: any WeightSource], allowPartial: Bool = false) throws {
        let tables = Dictionary(uniqueKeysWithValues: bases.map { ($0, ModuleTable($1, component: $0)) })
        var changes: [String: [String: [WeightChange]]] = [:]
        var unmatched: [UnmatchedKeys] = []
        for item in items {
            let binding = try AdapterBinding(item.file, tables)
            if !binding.unmatched.keys.isEmpty { unmatched.append(binding.unmatched) }
            for (component, weight, change) in try binding.changes(item) {
                changes[component, default: [:]][weight, default: []].append(change)
            }
        }
        if !allowPartial, !unmatched.isEmpty {
            throw UnmatchedKeys.failure(unmatched, remedy: "Give --lora-allow-partial to leave them out.")
        }
        unmatchedKeys = unmatched.flatMap { file in file.keys.map { "\(file.path): \($0)" } }
        self.changes = changes
    }

    /// The weights of a component that differ from the base's.
    package func changedNames(_ component: String) -> Set<String> { Set((changes[component] ?? [:]).keys) }

    /// A component's weights with the adapters in them.
    /// - Parameter base: the weights that the stack was made for, or others of the same names and shapes.
    /// Throws `CalderaError` where the base lacks a weight that is to be changed or has it in another shape.
    package func adapted(_ base: any WeightSource, component: String) throws -> AdaptedWeights {
        try AdaptedWeights(base, changes: changes[component] ?? [:])
    }
}

/// The tensors of one file that match nothing in the model.
struct UnmatchedKeys {
    static let most = 20

    let path: String
    let keys: [String]

    /// Lists what several files have in vain.
    static func failure(_ files: [UnmatchedKeys], remedy: String) -> CalderaError {
        let sentences = files.map { file in
            let listed = file.keys.prefix(most).joined(separator: ", ")
            let more = file.keys.count > most ? " and \(file.keys.count - most) more" : ""
            let what = file.keys.count == 1 ? "1 tensor matches" : "\(file.keys.count) tensors match"
            return "\(file.path): \(what) nothing in this model: \(listed)\(more)."
        }
        return CalderaError((sentences + [remedy]).joined(separator: " "))
    }
}
