import CalderaGraph
import Foundation

/// The parts of a model in diffusers' and transformers' names under their original names: the way back from
/// `RenamedWeights`. What has no original name is left out.
enum OriginalWeights {
    static func unet(_ base: any WeightSource, prefix: String) -> MappedWeights {
        let names = base.names
        let map = UNetKeyMap(diffusersNames: names)
        return renamed(base, names.map { ($0, map.originalName($0)) }, prefix)
    }

    /// An autoencoder in diffusers' names of today.
    static func autoencoder(_ base: any WeightSource, prefix: String) -> MappedWeights {
        let names = base.names
        let map = AutoencoderKeyMap(diffusersNames: names)
        let renamed = renamed(base, names.map { ($0, map.originalName($0)) }, prefix)
        return MappedWeights(base, renamed.origins.mapValues { convolution($0, base) })
    }

    /// A text encoder whose original names are transformers' own.
    static func textEncoder(_ base: any WeightSource, prefix: String) -> MappedWeights {
        let names = base.names.filter { !$0.hasSuffix(".position_ids") }
        let isBare = !names.contains { $0.hasPrefix("text_model.") }
        return renamed(base, names.map { ($0, isBare ? "text_model." + $0 : $0) }, prefix)
    }

    /// A text encoder whose original names are OpenCLIP's.
    static func openCLIPTextEncoder(_ base: any WeightSource, prefix: String) -> MappedWeights {
        let isBare = !base.names.contains { $0.hasPrefix("text_model.") }
        var origins: [String: MappedWeights.Origin] = [:]
        for name in base.names {
            guard let original = TextEncoderKeyMap.openCLIPName(isBare ? "text_model." + name : name) else { continue }
            origins[prefix + original] = fused(name).map { .stacked($0) } ?? .tensor(name)
        }
        if base.info(TextEncoderKeyMap.transformersProjection) != nil {
            origins[prefix + TextEncoderKeyMap.projection] = .transposed(TextEncoderKeyMap.transformersProjection)
        }
        return MappedWeights(base, origins)
    }

    /// The three tensors of transformers that are one of OpenCLIP's, in the order of its rows.
    private static func fused(_ name: String) -> [String]? {
        let parts = ["q_proj", "k_proj", "v_proj"].map { ".self_attn.\($0)." }
        guard let own = parts.first(where: name.contains) else { return nil }
        return parts.map { name.replacingOccurrences(of: own, with: $0) }
    }

    private static func renamed(
        _ base: any WeightSource, _ pairs: [(String, String?)], _ prefix: String
    ) -> MappedWeights {
        let known = pairs.compactMap { name, original in original.map { (prefix + $0, name) } }
        return MappedWeights(base, Dictionary(known.map { ($0, .tensor($1)) }) { first, _ in first })
    }

    /// The layers of an autoencoder's attention are 1x1 convolutions in the original code.
    private static func convolution(_ origin: MappedWeights.Origin, _ base: any WeightSource) -> MappedWeights.Origin {
        guard case .tensor(let name) = origin, name.contains(".attentions."), let shape = base.info(name)?.shape,
            shape.rank == 2
        else { return origin }
        return .reshaped(name, [shape[0], shape[1], 1, 1])
    }
}
