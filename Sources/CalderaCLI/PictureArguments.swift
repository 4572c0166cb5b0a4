import ArgumentParser
import Caldera
import CalderaDiffusion

extension Tiling: ExpressibleByArgument {}

/// The picture to start from, and what the model is told of the picture's size.
struct PictureArguments: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "A PNG picture to change. (default: the picture is made from nothing)", valueName: "file.png"))
    var initImage: String?

    @Option(
        help: ArgumentHelp(
            "A PNG of the same size: white is made anew, black stays. (default: all is made anew)",
            valueName: "file.png"))
    var mask: String?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "How much to change: the share of the steps that run. (default: 0.8, with SDXL 0.3, with a mask 1)",
            valueName: "fraction"),
        transform: Numbers.fraction)
    var strength: Double?

    @Option(
        help: ArgumentHelp(
            "SDXL: the size that the picture should look taken from. (default: its own)", valueName: "WxH"),
        transform: Numbers.extent)
    var originalSize: SizeConditioning.Extent?

    @Option(
        help: ArgumentHelp(
            "SDXL: where the picture should look cut from its original. (default: 0,0)", valueName: "left,top"),
        transform: Numbers.corner)
    var crop: SizeConditioning.Extent?

    @Option(
        help: ArgumentHelp(
            "SDXL: the size that the picture should look made for. (default: its own)", valueName: "WxH"),
        transform: Numbers.extent)
    var targetSize: SizeConditioning.Extent?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "Refiner: how beautiful the picture should be, about 1 to 10. (default: 6)", valueName: "score"),
        transform: Numbers.finite)
    var aestheticScore: Double?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Refiner: the score of what the picture should not be. (default: 2.5)", valueName: "score"),
        transform: Numbers.finite)
    var negativeAestheticScore: Double?

    @Option(
        help: ArgumentHelp(
            "Whether the autoencoder works tile by tile: on, off, or auto, where nothing else fits. (default: auto)",
            valueName: "when"))
    var vaeTiling: Tiling?

    func validate() throws {
        if initImage == nil, mask != nil { throw ValidationError("--mask needs --init-image.") }
        if initImage == nil, strength != nil { throw ValidationError("--strength needs --init-image.") }
    }

    /// Writes what was asked for into a request.
    func apply(to request: inout GenerationRequest) {
        request.source = initImage.map { SourceImage(path: $0, mask: mask, strength: strength) }
        request.sizes.original = originalSize
        request.sizes.target = targetSize
        if let crop { request.sizes.crop = crop }
        if let aestheticScore { request.sizes.aestheticScore = aestheticScore }
        if let negativeAestheticScore { request.sizes.negativeAestheticScore = negativeAestheticScore }
        request.tiling = vaeTiling ?? .auto
    }
}
