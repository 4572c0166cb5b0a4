/// The names of an autoencoder's tensors in its original code (`decoder.up.3.block.0.conv1`, as latent-diffusion writes
/// them, without a prefix) and in diffusers (`decoder.up_blocks.0.resnets.0.conv1`).
///
/// The original decoder counts its levels from the picture, diffusers from the latents. The correspondence is that of
/// diffusers' `convert_ldm_vae_checkpoint`.
struct AutoencoderKeyMap: Sendable {
    private let table: KeyTable

    /// - Parameter originalNames: the tensors of an autoencoder in original names, without a prefix.
    init(originalNames: some Sequence<String>) {
        let levels = originalNames.map(DottedName.init).filter { $0[1] == "down" || $0[1] == "up" }
        table = Self.table(deepest: levels.compactMap { $0.number(2) }.max() ?? 0)
    }

    /// - Parameter diffusersNames: the tensors of an autoencoder in diffusers' names.
    init(diffusersNames: some Sequence<String>) {
        let levels = diffusersNames.map(DottedName.init).filter { $0[1] == "down_blocks" || $0[1] == "up_blocks" }
        table = Self.table(deepest: levels.compactMap { $0.number(2) }.max() ?? 0)
    }

    /// diffusers' name of a tensor, or nil where this autoencoder has none of that original name.
    func diffusersName(_ originalName: String) -> String? { table.diffusersName(originalName) }

    /// The original name of a tensor, or nil where this autoencoder has none of that name of diffusers.
    func originalName(_ diffusersName: String) -> String? { table.originalName(diffusersName) }

    private static func table(deepest: Int) -> KeyTable {
        let half = ["encoder", "decoder"].flatMap { middle($0) + ends($0) }
        let levels = (0...deepest).flatMap { level in
            blocks("encoder.down.\(level)", "encoder.down_blocks.\(level)", sampler: "downsample")
                + blocks("decoder.up.\(level)", "decoder.up_blocks.\(deepest - level)", sampler: "upsample")
        }
        return KeyTable(half + levels + [("quant_conv", "quant_conv"), ("post_quant_conv", "post_quant_conv")])
    }

    private static func ends(_ half: String) -> [KeyTable.Pair] {
        [
            ("\(half).conv_in", "\(half).conv_in"), ("\(half).norm_out", "\(half).conv_norm_out"),
            ("\(half).conv_out", "\(half).conv_out"),
        ]
    }

    private static func middle(_ half: String) -> [KeyTable.Pair] {
        let (original, diffusers) = ("\(half).mid", "\(half).mid_block")
        let attention = [("norm", "group_norm"), ("q", "to_q"), ("k", "to_k"), ("v", "to_v"), ("proj_out", "to_out.0")]
        return resnet("\(original).block_1", "\(diffusers).resnets.0")
            + resnet("\(original).block_2", "\(diffusers).resnets.1")
            + attention.map { ("\(original).attn_1.\($0)", "\(diffusers).attentions.0.\($1)") }
    }

    /// No autoencoder has more resnets in a level than this.
    private static let mostLayers = 8

    private static func blocks(_ original: String, _ diffusers: String, sampler: String) -> [KeyTable.Pair] {
        let layers = (0..<mostLayers).flatMap { resnet("\(original).block.\($0)", "\(diffusers).resnets.\($0)") }
        return layers + [("\(original).\(sampler).conv", "\(diffusers).\(sampler)rs.0.conv")]
    }

    /// Apart from the shortcut both call a resnet's layers the same.
    private static func resnet(_ original: String, _ diffusers: String) -> [KeyTable.Pair] {
        [(original, diffusers), ("\(original).nin_shortcut", "\(diffusers).conv_shortcut")]
    }
}
