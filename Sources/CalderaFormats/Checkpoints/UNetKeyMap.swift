/// The names of a UNet's tensors and modules in its original code (`input_blocks.4.1.proj_in`, as latent-diffusion and
/// generative-models write them, without a prefix) and in diffusers (`down_blocks.1.attentions.0.proj_in`).
///
/// One table of modules serves both directions. It is made from the names of one UNet, whose layout they show: levels,
/// resnets per level, and which levels of the way up have attention (there the upsampler stands third in its block,
/// elsewhere second). The correspondence is that of diffusers' `convert_ldm_unet_checkpoint`.
package struct UNetKeyMap: Sendable {
    private let diffusers: [String: String]
    private let original: [String: String]

    /// - Parameter originalNames: the tensors or modules of a UNet in original names, without a prefix.
    package init(originalNames: some Sequence<String>) {
        self.init(Layout(originalNames: originalNames.map(ModulePath.init)))
    }

    /// - Parameter diffusersNames: the tensors or modules of a UNet in diffusers' names.
    package init(diffusersNames: some Sequence<String>) {
        self.init(Layout(diffusersNames: diffusersNames.map(ModulePath.init)))
    }

    private init(_ layout: Layout) {
        let modules = layout.modules
        diffusers = Dictionary(modules.map { ($0.original, $0.diffusers) }) { first, _ in first }
        original = Dictionary(modules.map { ($0.diffusers, $0.original) }) { first, _ in first }
    }

    /// diffusers' name of a tensor or module, or nil where this UNet has none of that original name.
    package func diffusersName(_ originalName: String) -> String? { Self.translate(originalName, diffusers) }

    /// The original name of a tensor or module, or nil where this UNet has none of that name of diffusers.
    package func originalName(_ diffusersName: String) -> String? { Self.translate(diffusersName, original) }

    /// Replaces the longest run of leading components that is a module of the table.
    private static func translate(_ name: String, _ table: [String: String]) -> String? {
        var module = name[...]
        while true {
            if let translated = table[String(module)] { return translated + name[module.endIndex...] }
            guard let dot = module.lastIndex(of: ".") else { return nil }
            module = module[..<dot]
        }
    }
}

/// The components of a dotted name.
private struct ModulePath {
    private let parts: [Substring]

    init(_ name: String) { parts = name.split(separator: ".", omittingEmptySubsequences: false) }

    /// A component, empty behind the last one.
    subscript(index: Int) -> Substring { index < parts.count ? parts[index] : "" }

    /// A component that is an index.
    func number(_ index: Int) -> Int? { Int(self[index]) }
}

/// What distinguishes one UNet's names from another's.
private struct Layout {
    /// Names come from files: a block of a higher number is no block of a UNet.
    private static let most = 64

    private let levels: Int
    private let layersPerBlock: Int
    /// The levels of the way up that have attention.
    private let upAttention: Set<Int>

    init(originalNames paths: [ModulePath]) {
        let inputs = paths.filter { $0[0] == "input_blocks" }
        let downsampler = inputs.filter { $0[3] == "op" }.compactMap { $0.number(1) }.min()
        let last = inputs.compactMap { $0.number(1) }.filter { $0 < Self.most }.max() ?? 0
        let layers = min(max((downsampler ?? 3) - 1, 1), Self.most)
        layersPerBlock = layers
        levels = (last + layers + 1) / (layers + 1)
        let attention = paths.filter { path in
            path[0] == "output_blocks" && (path[2] == "2" || path[2] == "1" && path[3] != "conv")
        }
        upAttention = Set(attention.compactMap { $0.number(1) }.map { $0 / (layers + 1) })
    }

    init(diffusersNames paths: [ModulePath]) {
        let down = paths.filter { $0[0] == "down_blocks" }
        levels = (down.compactMap { $0.number(1) }.filter { $0 < Self.most }.max() ?? -1) + 1
        let resnets = down.filter { $0[2] == "resnets" }.compactMap { $0.number(3) }
        layersPerBlock = (resnets.filter { $0 < Self.most }.max() ?? 1) + 1
        upAttention = Set(paths.filter { $0[0] == "up_blocks" && $0[2] == "attentions" }.compactMap { $0.number(1) })
    }

    typealias Pair = (original: String, diffusers: String)

    /// Every module that has a name of its own; what is inside an attention layer has the same name in both.
    var modules: [Pair] {
        Self.ends + middle + (0..<levels).flatMap { down($0) + up($0) }
    }

    private static let ends: [Pair] = [
        ("time_embed.0", "time_embedding.linear_1"), ("time_embed.2", "time_embedding.linear_2"),
        ("label_emb.0.0", "add_embedding.linear_1"), ("label_emb.0.2", "add_embedding.linear_2"),
        ("input_blocks.0.0", "conv_in"), ("out.0", "conv_norm_out"), ("out.2", "conv_out"),
    ]

    private var middle: [Pair] {
        resnet("middle_block.0", "mid_block.resnets.0") + [("middle_block.1", "mid_block.attentions.0")]
            + resnet("middle_block.2", "mid_block.resnets.1")
    }

    private func down(_ level: Int) -> [Pair] {
        let first = 1 + level * (layersPerBlock + 1)
        let layers = (0..<layersPerBlock).flatMap { layer -> [Pair] in
            let block = "input_blocks.\(first + layer)"
            return resnet("\(block).0", "down_blocks.\(level).resnets.\(layer)")
                + [("\(block).1", "down_blocks.\(level).attentions.\(layer)")]
        }
        let downsampler = "input_blocks.\(first + layersPerBlock).0.op"
        return layers + [(downsampler, "down_blocks.\(level).downsamplers.0.conv")]
    }

    private func up(_ level: Int) -> [Pair] {
        let first = level * (layersPerBlock + 1)
        let hasAttention = upAttention.contains(level)
        let layers = (0...layersPerBlock).flatMap { layer -> [Pair] in
            let block = "output_blocks.\(first + layer)"
            let attention: Pair = ("\(block).1", "up_blocks.\(level).attentions.\(layer)")
            return resnet("\(block).0", "up_blocks.\(level).resnets.\(layer)") + (hasAttention ? [attention] : [])
        }
        let upsampler = "output_blocks.\(first + layersPerBlock).\(hasAttention ? 2 : 1).conv"
        return layers + [(upsampler, "up_blocks.\(level).upsamplers.0.conv")]
    }

    private func resnet(_ original: String, _ diffusers: String) -> [Pair] {
        [(original, diffusers)] + Self.insideResnet.map { ("\(original).\($0)", "\(diffusers).\($1)") }
    }

    private static let insideResnet: [Pair] = [
        ("in_layers.0", "norm1"), ("in_layers.2", "conv1"), ("emb_layers.1", "time_emb_proj"),
        ("out_layers.0", "norm2"), ("out_layers.3", "conv2"), ("skip_connection", "conv_shortcut"),
    ]
}
