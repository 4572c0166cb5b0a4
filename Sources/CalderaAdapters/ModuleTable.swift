import CalderaFormats
import CalderaGraph

/// The layers of one component of a model, by every name that adapters may give them.
///
/// Underscores replace the dots, because kohya's names cannot be taken apart again. UNets are found under their
/// original names (`input_blocks_4_1_proj_in`) as well as under diffusers', text encoders with `text_model` or without.
struct ModuleTable: Sendable {
    struct Match: Hashable {
        let component: String
        /// The layer's path in the component's weight names.
        let path: String
        /// Whether it was found under its original name, not diffusers'.
        let isOriginalName: Bool
    }

    let component: String
    private let shapes: [String: MatrixShape]
    private let matches: [String: Match]

    init(_ base: any WeightSource, component: String) {
        self.component = component
        let names = base.names
        shapes = names.reduce(into: [:]) { shapes, name in
            if let info = base.info(name), info.dtype != .int32 { shapes[name] = MatrixShape(info.shape) }
        }
        let paths = Set(names.compactMap { name in name.lastIndex(of: ".").map { String(name[..<$0]) } })
        let map = component == "unet" ? UNetKeyMap(diffusersNames: names) : nil
        var matches: [String: Match] = [:]
        for path in paths {
            let match = Match(component: component, path: path, isOriginalName: false)
            for name in Self.textNames(path, component) { matches[Self.underscored(name)] = match }
            guard let original = map?.originalName(path), original != path else { continue }
            matches[Self.underscored(original)] = Match(component: component, path: path, isOriginalName: true)
        }
        self.matches = matches
    }

    /// The layer of that name, dots as underscores.
    func match(_ module: String) -> Match? { matches[module] }

    /// The shape of a weight of floating type.
    func shape(_ weight: String) -> MatrixShape? { shapes[weight] }

    /// The width of what the cross-attention reads, or nil where there is none.
    var crossAttentionWidth: Int? {
        shapes.first { $0.key.hasSuffix("attn2.to_k.weight") }?.value.columns
    }

    private static func textNames(_ path: String, _ component: String) -> [String] {
        if component == "unet" { return [path] }
        let prefix = "text_model."
        return path.hasPrefix(prefix) ? [path, String(path.dropFirst(prefix.count))] : [path, prefix + path]
    }

    private static func underscored(_ path: String) -> String { path.replacing(".", with: "_") }
}
