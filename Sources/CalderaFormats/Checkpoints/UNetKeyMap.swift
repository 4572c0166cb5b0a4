/// The names of a UNet's tensors and modules in its original code (`input_blocks.4.1.proj_in`, as latent-diffusion and
/// generative-models write them, without a prefix) and in diffusers (`down_blocks.1.attentions.0.proj_in`).
///
/// One table of modules serves both directions. It is made from the names of one UNet, whose layout they show: levels,
/// resnets per level, and which levels of the way up have attention (there the upsampler stands third in its block,
/// elsewhere second). The correspondence is that of diffusers' `convert_ldm_unet_checkpoint`.
package struct UNetKeyMap: Sendable {
    private let table: KeyTable

    /// - Parameter originalNames: the tensors or modules of a UNet in original names, without a prefix.
    package init(originalNames: some Sequence<String>) {
        self.init(Layout(originalNames: originalNames.map(DottedName.init)))
    }

    /// - Parameter diffusersNames: the tensors or modules of a UNet in diffusers' names.
    package init(diffusersNames: some Sequence<String>) {
        self.init(Layout(diffusersNames: diffusersNames.map(DottedName.init)))
    }

    private init(_ layout: Layout) { table = KeyTable(layout.modules) }

    /// diffusers' name of a tensor or module, or nil where this UNet has none of that original name.
    package func diffusersName(_ originalName: String) -> String? { table.diffusersName(originalName) }

    /// The original name of a tensor or module, or nil where this UNet has none of that name of diffusers.
    package func originalName(_ diffusersName: String) -> String? { table.originalName(diffusersName) }
}

/// What distinguishes one UNet's names from another's.
private struct Layout {
    private let levels: Int
    private let layersPerBlock: Int
    /// The levels of the way up that have attention.
    private let upAttention: Set<Int>

    init(originalNames paths: [DottedName]) {
        let inputs = paths.filter { $0[0] == "input_blocks" }
        let downsampler = inputs.filter { $0[3] == "op" }.compactMap { $0.number(1) }.min()
        let outputs = paths.filter { $0[0] == "output_blocks" }
        let last = (inputs + outputs).compactMap { $0.number(1) }.max() ?? 0
        let layers = max((downsampler ?? 3) - 1, 1)
        layersPerBlock = layers
        levels = (last + layers + 1) / (layers + 1)
        let attention = outputs.filter { $0[2] == "2" || $0[2] == "1" && $0[3] != "conv" }
        upAttention = Set(attention.compactMap { $0.number(1) }.map { $0 / (layers + 1) })
    }

    init(diffusersNames paths: [DottedName]) {
        let down = paths.filter { $0[0] == "down_blocks" }
        let up = paths.filter { $0[0] == "up_blocks" }
        levels = ((down + up).compactMap { $0.number(1) }.max() ?? -1) + 1
        let resnets = down.filter { $0[2] == "resnets" }.compactMap { $0.number(3) }
        layersPerBlock = (resnets.max() ?? 1) + 1
        upAttention = Set(up.filter { $0[2] == "attentions" }.compactMap { $0.number(1) })
    }

    /// Every module that has a name of its own; what is inside an attention layer has the same name in both.
    var modules: [KeyTable.Pair] {
        Self.ends + middle + (0..<levels).flatMap { down($0) + up($0) }
    }

    private static let ends: [KeyTable.Pair] = [
        ("time_embed.0", "time_embedding.linear_1"), ("time_embed.2", "time_embedding.linear_2"),
        ("label_emb.0.0", "add_embedding.linear_1"), ("label_emb.0.2", "add_embedding.linear_2"),
        ("input_blocks.0.0", "conv_in"), ("out.0", "conv_norm_out"), ("out.2", "conv_out"),
    ]

    private var middle: [KeyTable.Pair] {
        resnet("middle_block.0", "mid_block.resnets.0") + [("middle_block.1", "mid_block.attentions.0")]
            + resnet("middle_block.2", "mid_block.resnets.1")
    }

    private func down(_ level: Int) -> [KeyTable.Pair] {
        let first = 1 + level * (layersPerBlock + 1)
        let layers = (0..<layersPerBlock).flatMap { layer -> [KeyTable.Pair] in
            let block = "input_blocks.\(first + layer)"
            return resnet("\(block).0", "down_blocks.\(level).resnets.\(layer)")
                + [("\(block).1", "down_blocks.\(level).attentions.\(layer)")]
        }
        let downsampler = "input_blocks.\(first + layersPerBlock).0.op"
        return layers + [(downsampler, "down_blocks.\(level).downsamplers.0.conv")]
    }

    private func up(_ level: Int) -> [KeyTable.Pair] {
        let first = level * (layersPerBlock + 1)
        let hasAttention = upAttention.contains(level)
        let layers = (0...layersPerBlock).flatMap { layer -> [KeyTable.Pair] in
            let block = "output_blocks.\(first + layer)"
            let attention: KeyTable.Pair = ("\(block).1", "up_blocks.\(level).attentions.\(layer)")
            return resnet("\(block).0", "up_blocks.\(level).resnets.\(layer)") + (hasAttention ? [attention] : [])
        }
        let upsampler = "output_blocks.\(first + layersPerBlock).\(hasAttention ? 2 : 1).conv"
        return layers + [(upsampler, "up_blocks.\(level).upsamplers.0.conv")]
    }

    private func resnet(_ original: String, _ diffusers: String) -> [KeyTable.Pair] {
        [(original, diffusers)]
            + Self.insideResnet.map { ("\(original).\($0.original)", "\(diffusers).\($0.diffusers)") }
    }

    private static let insideResnet: [KeyTable.Pair] = [
        ("in_layers.0", "norm1"), ("in_layers.2", "conv1"), ("emb_layers.1", "time_emb_proj"),
        ("out_layers.0", "norm2"), ("out_layers.3", "conv2"), ("skip_connection", "conv_shortcut"),
    ]
}
