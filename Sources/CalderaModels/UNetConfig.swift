import CalderaGraph

/// What a UNet's `config.json` says, under diffusers' defaults.
/// Reference: diffusers `unet_2d_condition.py`, `UNet2DConditionModel.__init__`.
package struct UNetConfig: Sendable, Equatable {
    package let inChannels: Int
    package let outChannels: Int
    /// Channels of each level, the shallowest first (`block_out_channels`).
    package let blockChannels: [Int]
    /// Resnet blocks of each level on the way down; one more on the way up.
    package let layersPerBlock: [Int]
    /// Which levels have transformers on the way down, and which blocks on the way up (the deepest first).
    package let downAttention: [Bool]
    package let upAttention: [Bool]
    /// Attention heads of each level. diffusers' `attention_head_dim` is, for historic reasons, this number.
    package let heads: [Int]
    package let transformerDepth: [Int]
    package let crossAttentionChannels: Int
    package let linearProjection: Bool
    package let groups: Int
    package let epsilon: Float
    package let flipSinToCos: Bool
    package let frequencyShift: Float
    package let downsamplePadding: Int
    /// SDXL's added conditioning (`addition_embed_type` "text_time").
    package let addsTextTime: Bool
    package let additionTimeChannels: Int
    package let addedInputChannels: Int
    /// Channels of the guidance scale's embedding that a distilled UNet takes (`time_cond_proj_dim`); nil for others.
    package let timeConditionChannels: Int?
    /// The latents' default height and width.
    package let sampleSize: Int?

    /// Channels of the timestep embedding: four times those of the first level.
    package var timeChannels: Int { 4 * blockChannels[0] }

    /// Throws `CalderaError` for a missing or ill-typed setting, and for any value that this UNet does not compute.
    package init(_ config: JSONConfig) throws {
        try config.check(read: Self.read, fixed: Self.fixed, ignored: Self.ignored)
        blockChannels = try config.ints("block_out_channels", default: [320, 640, 1280, 1280])
        let levels = blockChannels.count
        guard levels > 0, blockChannels.allSatisfy({ (1...65_536).contains($0) }) else {
            throw CalderaError("\(config.path): block_out_channels is \(blockChannels); positive numbers are needed.")
        }
        inChannels = try config.positive("in_channels", default: 4)
        outChannels = try config.positive("out_channels", default: 4)
        layersPerBlock = try config.perLevel("layers_per_block", count: levels, default: 2)
        downAttention = try Self.attention(config, "down_block_types", Self.defaultDown, levels)
        upAttention = try Self.attention(config, "up_block_types", Self.defaultUp, levels)
        let headsKey = config.has("num_attention_heads") ? "num_attention_heads" : "attention_head_dim"
        heads = try config.perLevel(headsKey, count: levels, default: 8)
        transformerDepth = try config.perLevel("transformer_layers_per_block", count: levels, default: 1)
        crossAttentionChannels = try config.positive("cross_attention_dim", default: 1280)
        linearProjection = try config.bool("use_linear_projection", default: false)
        groups = try config.positive("norm_num_groups", default: 32)
        epsilon = Float(try config.double("norm_eps", default: 1e-5))
        flipSinToCos = try config.bool("flip_sin_to_cos", default: true)
        frequencyShift = Float(try config.double("freq_shift", default: 0))
        downsamplePadding = try config.int("downsample_padding", default: 1)
        addsTextTime = config.has("addition_embed_type")
        additionTimeChannels = addsTextTime ? try config.positive("addition_time_embed_dim") : 0
        addedInputChannels = addsTextTime ? try config.positive("projection_class_embeddings_input_dim") : 0
        timeConditionChannels = config.has("time_cond_proj_dim") ? try config.positive("time_cond_proj_dim") : nil
        sampleSize = config.has("sample_size") ? try config.positive("sample_size") : nil
        try config.check(groups: groups, divide: blockChannels)
        for (width, count) in zip(blockChannels, heads) where width % count != 0 {
            throw CalderaError("\(config.path): \(count) attention heads do not divide \(width) channels.")
        }
    }

    /// Whether each block of the list has transformers; a block type that is not built is an error that names it.
    private static func attention(
        _ config: JSONConfig, _ key: String, _ types: [String: Bool], _ levels: Int
    ) throws -> [Bool] {
        let plain = types.first { !$0.value }?.key ?? ""
        let cross = types.first { $0.value }?.key ?? ""
        let standard = key.hasPrefix("down") ? [cross, cross, cross, plain] : [plain, cross, cross, cross]
        let names = try config.strings(key, default: standard)
        guard names.count == levels else {
            throw CalderaError(
                "\(config.path): \(key) names \(names.count) blocks where block_out_channels has \(levels) levels.")
        }
        return try names.map { name in
            if let attends = types[name] { return attends }
            throw CalderaError("\(config.path): the block type \(name) in \(key) is not one that Caldera computes.")
        }
    }

    private static let defaultDown = ["DownBlock2D": false, "CrossAttnDownBlock2D": true]
    private static let defaultUp = ["UpBlock2D": false, "CrossAttnUpBlock2D": true]

    private static let read: Set<String> = [
        "in_channels", "out_channels", "block_out_channels", "layers_per_block", "down_block_types", "up_block_types",
        "attention_head_dim", "num_attention_heads", "transformer_layers_per_block", "cross_attention_dim",
        "use_linear_projection", "norm_num_groups", "norm_eps", "flip_sin_to_cos", "freq_shift", "downsample_padding",
        "addition_time_embed_dim", "projection_class_embeddings_input_dim", "sample_size",
        "time_cond_proj_dim",
    ]

    private static let fixed: JSONConfig.Fixed = [
        "act_fn": [.string("silu"), .string("swish")],
        "addition_embed_type": [.string("text_time")],
        "attention_type": [.string("default")],
        "center_input_sample": [.bool(false)],
        "class_embeddings_concat": [.bool(false)],
        "class_embed_type": [],
        "conv_in_kernel": [.int(3)],
        "conv_out_kernel": [.int(3)],
        "cross_attention_norm": [],
        "dual_cross_attention": [.bool(false)],
        "encoder_hid_dim": [],
        "encoder_hid_dim_type": [],
        "mid_block_only_cross_attention": [.bool(false)],
        "mid_block_scale_factor": [.int(1), .double(1)],
        "mid_block_type": [.string("UNetMidBlock2DCrossAttn")],
        "num_class_embeds": [],
        "only_cross_attention": [.bool(false)],
        "resnet_out_scale_factor": [.int(1), .double(1)],
        "resnet_skip_time_act": [.bool(false)],
        "resnet_time_scale_shift": [.string("default")],
        "reverse_transformer_layers_per_block": [],
        "time_embedding_act_fn": [],
        "time_embedding_dim": [],
        "time_embedding_type": [.string("positional")],
        "timestep_post_act": [],
    ]

    /// Training settings, sizes of parts that are not there, and `upcast_attention`: logits are fp32 here in any case.
    private static let ignored: Set<String> = ["dropout", "addition_embed_type_num_heads", "upcast_attention"]
}
