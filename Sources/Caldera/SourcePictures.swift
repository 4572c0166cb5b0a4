import CalderaDiffusion
import CalderaFormats
import CalderaGraph

/// Pictures and masks from files, in the form in which a pipeline takes them.
///
/// Preparation is that of diffusers' `VaeImageProcessor`: resized with Lanczos' filter, pixels brought to -1...1; masks
/// in grey, white from one half on.
struct SourcePictures {
    private let picture: PNGPicture
    private let mask: PNGPicture?
    private let image: SourceImage

    /// Throws `CalderaError` when a file cannot be read, or the mask is not of the picture's size.
    init(_ image: SourceImage) throws {
        self.image = image
        picture = try PNGFile.read(image.path)
        mask = try image.mask.map(PNGFile.read)
        if let mask, (mask.width, mask.height) != (picture.width, picture.height) {
            throw CalderaError.usage(
                "The mask \(image.mask ?? "") is \(mask.width)x\(mask.height) where the picture is "
                    + "\(picture.width)x\(picture.height): make both the same size.")
        }
    }

    /// The largest size not above the picture's own that a model can draw.
    func size(unit: Int) -> (width: Int, height: Int) {
        (max(unit, picture.width / unit * unit), max(unit, picture.height / unit * unit))
    }

    var isMasked: Bool { mask != nil }

    /// Both at a size in pixels.
    func prepared(width: Int, height: Int, strength: Double) -> SourcePicture {
        let pixels = LanczosResize.resized(
            picture.rgb, width: picture.width, height: picture.height, channels: 3, toWidth: width, toHeight: height)
        let values: [Float] = pixels.map { 2 * (Float($0) / 255) - 1 }
        let tensor = HostTensor([1, height, width, 3], values)
        return SourcePicture(picture: tensor, mask: preparedMask(width: width, height: height), strength: strength)
    }

    private func preparedMask(width: Int, height: Int) -> HostTensor? {
        mask.map { mask in
            let resized = LanczosResize.resized(
                Self.grey(mask.rgb), width: mask.width, height: mask.height, channels: 1, toWidth: width,
                toHeight: height)
            let values: [Float] = resized.map { Float($0) / 255 >= 0.5 ? 1 : 0 }
            return HostTensor([1, height, width, 1], values)
        }
    }

    /// Luma of ITU-R 601-2 in 16-bit fixed point, as Pillow's `convert("L")`.
    private static func grey(_ rgb: [UInt8]) -> [UInt8] {
        stride(from: 0, to: rgb.count, by: 3).map { index in
            let sum = Int(rgb[index]) * 19_595 + Int(rgb[index + 1]) * 38_470 + Int(rgb[index + 2]) * 7_471
            return UInt8((sum + 0x8000) >> 16)
        }
    }
}
