import CalderaGraph

/// What an autoencoder's `config.json` says, under diffusers' defaults.
/// Reference: diffusers `autoencoder_kl.py`, `AutoencoderKL.__init__`.
package struct AutoencoderConfig: Sendable, Equatable {
    package let inChannels: Int
    package let outChannels: Int
    /// Channels of each level, the shallowest first (`block_out_channels`).
    package let blockChannels: [Int]
    /// Resnet blocks of each level of the encoder; the decoder has one more.
    package let layersPerBlock: Int
    package let latentChannels: Int
    package let groups: Int
    package let midBlockAttention: Bool
    package let usesQuantConvolution: Bool
    package let usesPostQuantConvolution: Bool
    package let latentScale: LatentScale
    /// Whether the decoder's activations overflow fp16, so that it must run in fp32.
    package let forceUpcast: Bool

    package var scalingFactor: Double { latentScale.scalingFactor }

    /// Pixels for each latent in either direction.
    package var downscale: Int { 1 << (blockChannels.count - 1) }

    /// Throws `CalderaError` for a missing or ill-typed setting, and for any value that this autoencoder does not compute.
    package init(_ config: JSONConfig) throws {
        try config.check(read: Self.read, fixed: Self.fixed, ignored: [])
        blockChannels = try config.ints("block_out_channels", default: [64])
        let levels = blockChannels.count
        guard (1...8).contains(levels), blockChannels.allSatisfy({ (1...65_536).contains($0) }) else {
            throw CalderaError(
                "\(config.path): block_out_channels is \(blockChannels); one to eight levels are needed.")
        }
        try Self.check(config, "down_block_types", "DownEncoderBlock2D", levels)
        try Self.check(config, "up_block_types", "UpDecoderBlock2D", levels)
        inChannels = try config.positive("in_channels", default: 3)
        outChannels = try config.positive("out_channels", default: 3)
        layersPerBlock = try config.positive("layers_per_block", default: 1)
        latentChannels = try config.positive("latent_channels", default: 4)
        groups = try config.positive("norm_num_groups", default: 32)
        midBlockAttention = try config.bool("mid_block_add_attention", default: true)
        usesQuantConvolution = try config.bool("use_quant_conv", default: true)
        usesPostQuantConvolution = try config.bool("use_post_quant_conv", default: true)
        latentScale = try LatentScale(config, channels: latentChannels, defaultFactor: 0.18215)
        forceUpcast = try config.bool("force_upcast", default: true)
        try config.check(groups: groups, divide: blockChannels)
    }

    private static func check(_ config: JSONConfig, _ key: String, _ type: String, _ levels: Int) throws {
        let names = try config.strings(key, default: [type])
        if let unknown = names.first(where: { $0 != type }) {
            throw CalderaError("\(config.path): the block type \(unknown) in \(key) is not one that Caldera computes.")
        }
        guard names.count == levels else {
            throw CalderaError(
                "\(config.path): \(key) names \(names.count) blocks where block_out_channels has \(levels) levels.")
        }
    }

    private static let read: Set<String> = [
        "in_channels", "out_channels", "block_out_channels", "down_block_types", "up_block_types", "layers_per_block",
        "latent_channels", "norm_num_groups", "mid_block_add_attention", "use_quant_conv", "use_post_quant_conv",
        "scaling_factor", "latents_mean", "latents_std", "force_upcast", "sample_size",
    ]

    private static let fixed: JSONConfig.Fixed = [
        "act_fn": [.string("silu"), .string("swish")],
        "shift_factor": [.int(0), .double(0)],
    ]
}
