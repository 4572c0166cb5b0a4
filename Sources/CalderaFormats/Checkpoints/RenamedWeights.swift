import CalderaGraph

/// The parts of a model under the names of diffusers and transformers, whatever names their file gives them.
package enum RenamedWeights {
    /// A UNet. - Parameter prefix: what stands before the names that belong to it: `model.diffusion_model.`.
    package static func unet(_ base: any WeightSource, prefix: String = "") -> any WeightSource {
        let stored = names(base, prefix)
        let map = UNetKeyMap(originalNames: stored)
        let pairs = stored.compactMap { name in map.diffusersName(name).map { ($0, prefix + name) } }
        return MappedWeights(base, origins(pairs))
    }

    /// An autoencoder in original names, diffusers' names, or those from before diffusers 0.17, where the attention
    /// layers were called `query`, `key`, `value`, `proj_attn`. 1x1 convolutions in place of their linear layers are
    /// taken as matrices.
    /// - Parameter prefix: what stands before the names that belong to it: `first_stage_model.`, `vae.` or nothing.
    package static func autoencoder(_ base: any WeightSource, prefix: String = "") -> any WeightSource {
        let stored = names(base, prefix)
        let map = AutoencoderKeyMap(originalNames: stored)
        let pairs = stored.map { name in (map.diffusersName(name) ?? current(name), prefix + name) }
        if prefix.isEmpty, pairs.allSatisfy({ $0 == $1 && !isConvolution($0, base) }) { return base }
        return MappedWeights(base, origins(pairs).mapValues { origin in matrix(origin, base) })
    }

    /// A text encoder in transformers' names, with or without `text_model.` before them.
    /// - Parameter layers: how many layers are kept.
    package static func textEncoder(
        _ base: any WeightSource, prefix: String, layers: Int, hasProjection: Bool
    ) -> any WeightSource {
        let modules = ["embeddings.", "encoder.", "final_layer_norm."]
        let pairs = names(base, prefix).compactMap { name -> (String, String)? in
            let isBare = modules.contains { name.hasPrefix($0) }
            let full = isBare ? "text_model." + name : name
            guard full.hasPrefix("text_model.") || hasProjection && name == TextEncoderKeyMap.transformersProjection,
                !full.hasSuffix(".position_ids")
            else { return nil }
            if let layer = TextEncoderKeyMap.layer(full), layer >= layers { return nil }
            return (full, prefix + name)
        }
        return MappedWeights(base, origins(pairs))
    }

    /// A text encoder in OpenCLIP's names.
    /// - Parameters:
    ///   - layers: how many layers are kept: SD2 leaves out the last.
    ///   - hasProjection: whether the encoder has `text_projection`; SD2's goes without.
    package static func openCLIPTextEncoder(
        _ base: any WeightSource, prefix: String, layers: Int, hasProjection: Bool
    ) -> any WeightSource {
        var origins: [String: MappedWeights.Origin] = [:]
        for name in names(base, prefix) {
            let parts = TextEncoderKeyMap.transformersNames(name)
            let rows = base.info(prefix + name)?.shape.extents.first ?? 0
            for (index, part) in parts.enumerated() {
                if let layer = TextEncoderKeyMap.layer(part), layer >= layers { continue }
                let third = rows / parts.count
                origins[part] =
                    parts.count == 1
                    ? .tensor(prefix + name) : .rows(prefix + name, index * third..<(index + 1) * third)
            }
        }
        let projection = prefix + TextEncoderKeyMap.projection
        if hasProjection, base.info(projection) != nil {
            origins[TextEncoderKeyMap.transformersProjection] = .transposed(projection)
        }
        return MappedWeights(base, origins)
    }

    private static func names(_ base: any WeightSource, _ prefix: String) -> [String] {
        base.names.compactMap { $0.hasPrefix(prefix) ? String($0.dropFirst(prefix.count)) : nil }
    }

    private static func origins(_ pairs: [(String, String)]) -> [String: MappedWeights.Origin] {
        Dictionary(pairs.map { ($0, .tensor($1)) }) { first, _ in first }
    }

    /// Today's name of an autoencoder's tensor.
    private static func current(_ name: String) -> String {
        let renames = ["query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"]
        var path = name.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        guard path.contains("attentions"), path.count >= 2, let renamed = renames[path[path.count - 2]] else {
            return name
        }
        path[path.count - 2] = renamed
        return path.joined(separator: ".")
    }

    /// A weight of an attention layer as a matrix.
    private static func matrix(_ origin: MappedWeights.Origin, _ base: any WeightSource) -> MappedWeights.Origin {
        guard case .tensor(let name) = origin, let shape = base.info(name)?.shape, isConvolution(name, base) else {
            return origin
        }
        return .reshaped(name, [shape[0], shape[1]])
    }

    /// Whether a tensor is a layer of an autoencoder's attention as a convolution [out, in, 1, 1] or [out, in, 1].
    private static func isConvolution(_ name: String, _ base: any WeightSource) -> Bool {
        guard name.contains(".attentions.") || name.contains(".attn_1."), let shape = base.info(name)?.shape else {
            return false
        }
        return shape.rank > 2 && shape.extents.dropFirst(2).allSatisfy { $0 == 1 }
    }
}
