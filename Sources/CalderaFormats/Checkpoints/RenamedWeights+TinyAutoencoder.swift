import CalderaGraph

extension RenamedWeights {
    /// A half of TAESD or TAESDXL as its authors publish it (`taesd_encoder.safetensors`, `taesd_decoder.safetensors`),
    /// under diffusers' names; other weights as they are.
    ///
    /// The original files number the layers of one `Sequential` each:
    ///
    /// | original                  | diffusers                                | what                                       |
    /// |---------------------------|------------------------------------------|--------------------------------------------|
    /// | encoder `N.weight`        | `encoder.layers.N.weight`                | a convolution                              |
    /// | encoder `N.conv.0.weight` | `encoder.layers.N.conv.0.weight`         | a block's convolutions 0, 2 and 4          |
    /// | decoder `N.weight`        | `decoder.layers.(N-1).weight`            | the clamp in front has number 0 there only |
    /// | decoder `N.conv.0.weight` | `decoder.layers.(N-1).conv.0.weight`     |                                            |
    package static func tinyAutoencoder(_ base: any WeightSource) -> any WeightSource {
        // The first layer with weights is a convolution: number 0 of an encoder, number 1 of a decoder.
        let isEncoder = base.info("0.weight") != nil
        guard isEncoder || base.info("1.weight") != nil else { return base }
        var origins: [String: MappedWeights.Origin] = [:]
        for name in base.names {
            let parts = name.split(separator: ".", maxSplits: 1)
            guard parts.count == 2, let number = Int(parts[0]) else { continue }
            let renamed = isEncoder ? "encoder.layers.\(number)" : "decoder.layers.\(number - 1)"
            origins["\(renamed).\(parts[1])"] = .tensor(name)
        }
        return MappedWeights(base, origins)
    }
}
