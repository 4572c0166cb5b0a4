/// The names of a text encoder's tensors in OpenCLIP (`transformer.resblocks.0.ln_1.weight`) and in transformers
/// (`text_model.encoder.layers.0.layer_norm1.weight`).
///
/// OpenCLIP keeps the rows of query, key and value in one matrix, `attn.in_proj_weight`, and the projection transposed.
/// The correspondence is that of diffusers' `convert_open_clip_checkpoint`.
enum TextEncoderKeyMap {
    /// OpenCLIP's name of the matrix that maps the pooled state, [hidden, projection].
    static let projection = "text_projection"
    /// transformers' name of it, [projection, hidden].
    static let transformersProjection = "text_projection.weight"

    private static let whole = [
        ("positional_embedding", "text_model.embeddings.position_embedding.weight"),
        ("token_embedding.weight", "text_model.embeddings.token_embedding.weight"),
        ("ln_final.weight", "text_model.final_layer_norm.weight"),
        ("ln_final.bias", "text_model.final_layer_norm.bias"),
    ]
    private static let layerModules = [
        ("ln_1", "layer_norm1"), ("ln_2", "layer_norm2"), ("mlp.c_fc", "mlp.fc1"), ("mlp.c_proj", "mlp.fc2"),
        ("attn.out_proj", "self_attn.out_proj"),
    ]
    private static let layers = ("transformer.resblocks.", "text_model.encoder.layers.")
    private static let fused = "attn.in_proj_"

    /// The tensors of transformers that one of OpenCLIP becomes: one, or three that are equal parts of its rows.
    /// Empty for a name that is none of this encoder's (`logit_scale`) and for the projection.
    static func transformersNames(_ name: String) -> [String] {
        if let pair = whole.first(where: { $0.0 == name }) { return [pair.1] }
        guard let (layer, inner) = split(name, layers.0) else { return [] }
        let prefix = "\(layers.1)\(layer).self_attn."
        if inner.hasPrefix(fused) {
            return ["q", "k", "v"].map { "\(prefix)\($0)_proj.\(inner.dropFirst(fused.count))" }
        }
        return renamed(inner, layerModules).map { ["\(layers.1)\(layer).\($0)"] } ?? []
    }

    /// OpenCLIP's name for a tensor of transformers, nil for one that it does not have. Query, key and value have one
    /// name. The projection is left out.
    static func openCLIPName(_ name: String) -> String? {
        if let pair = whole.first(where: { $0.1 == name }) { return pair.0 }
        guard let (layer, inner) = split(name, layers.1) else { return nil }
        for part in ["q", "k", "v"] where inner.hasPrefix("self_attn.\(part)_proj.") {
            return "\(layers.0)\(layer).\(fused)\(inner.dropFirst("self_attn.q_proj.".count))"
        }
        return renamed(inner, layerModules.map { ($1, $0) }).map { "\(layers.0)\(layer).\($0)" }
    }

    /// The number of the layer that a tensor of transformers belongs to.
    static func layer(_ transformersName: String) -> Int? { split(transformersName, layers.1)?.0 }

    private static func split(_ name: String, _ prefix: String) -> (Int, Substring)? {
        guard name.hasPrefix(prefix) else { return nil }
        let rest = name.dropFirst(prefix.count)
        guard let dot = rest.firstIndex(of: "."), let layer = Int(rest[..<dot]) else { return nil }
        return (layer, rest[rest.index(after: dot)...])
    }

    private static func renamed(_ name: Substring, _ modules: [(String, String)]) -> String? {
        guard let module = modules.first(where: { name.hasPrefix($0.0 + ".") }) else { return nil }
        return module.1 + name.dropFirst(module.0.count)
    }
}
