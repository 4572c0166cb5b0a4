import CalderaGraph

/// What a tiny autoencoder's `config.json` says, under diffusers' defaults, which are those of TAESD and TAESDXL.
/// Reference: diffusers `autoencoder_tiny.py`, `AutoencoderTiny.__init__`.
package struct AutoencoderTinyConfig: Sendable, Equatable {
    package let inChannels: Int
    package let outChannels: Int
    package let latentChannels: Int
    /// Channels of all the encoder's layers, and of all the decoder's.
    package let encoderChannels: Int
    package let decoderChannels: Int
    /// Residual blocks of each stage, in the order in which they run; from each to the next the size halves or doubles.
    package let encoderBlocks: [Int]
    package let decoderBlocks: [Int]
    package let latentScale: LatentScale

    /// Pixels for each latent in either direction.
    package var downscale: Int { 1 << (decoderBlocks.count - 1) }

    /// Throws `CalderaError` for a missing or ill-typed setting, and for any value that this autoencoder does not compute.
    package init(_ config: JSONConfig) throws {
        try config.check(read: Self.read, fixed: Self.fixed, ignored: Self.ignored)
        inChannels = try config.positive("in_channels", default: 3)
        outChannels = try config.positive("out_channels", default: 3)
        latentChannels = try config.positive("latent_channels", default: 4)
        (encoderChannels, encoderBlocks) = try Self.stages(config, "encoder", [1, 3, 3, 3])
        (decoderChannels, decoderBlocks) = try Self.stages(config, "decoder", [3, 3, 3, 1])
        latentScale = try LatentScale(config, channels: latentChannels, defaultFactor: 1)
        guard encoderBlocks.count == decoderBlocks.count else {
            throw CalderaError(
                "\(config.path): num_encoder_blocks has \(encoderBlocks.count) stages where num_decoder_blocks has "
                    + "\(decoderBlocks.count).")
        }
    }

    /// diffusers builds stages of several widths, but none of them can be joined to the next.
    private static func stages(
        _ config: JSONConfig, _ half: String, _ standard: [Int]
    ) throws -> (channels: Int, blocks: [Int]) {
        let (widthKey, countKey) = ("\(half)_block_out_channels", "num_\(half)_blocks")
        let blocks = try config.ints(countKey, default: standard)
        guard (1...8).contains(blocks.count), blocks.allSatisfy({ (0...64).contains($0) }) else {
            throw CalderaError("\(config.path): \(countKey) is \(blocks); one to eight stages of up to 64 are needed.")
        }
        let widths = try config.ints(widthKey, default: Array(repeating: 64, count: blocks.count))
        guard widths.count == blocks.count, let width = widths.first, (1...65_536).contains(width),
            widths.allSatisfy({ $0 == width })
        else {
            throw CalderaError(
                "\(config.path): \(widthKey) is \(widths); one positive number is needed, the same for each of "
                    + "\(blocks.count) stages.")
        }
        return (width, blocks)
    }

    private static let read: Set<String> = [
        "in_channels", "out_channels", "latent_channels", "encoder_block_out_channels", "decoder_block_out_channels",
        "num_encoder_blocks", "num_decoder_blocks", "scaling_factor", "latents_mean", "latents_std",
    ]

    private static let fixed: JSONConfig.Fixed = [
        "act_fn": [.string("relu")],
        "shift_factor": [.int(0), .double(0)],
        "upsample_fn": [.string("nearest")],
        "upsampling_scaling_factor": [.int(2)],
    ]

    /// A copy of the decoder's widths, the coding of latents as 8-bit pictures, and what is not for this model.
    private static let ignored: Set<String> = [
        "block_out_channels", "latent_magnitude", "latent_shift", "force_upcast", "sample_size",
    ]
}
