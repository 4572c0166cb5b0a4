import Caldera
import CalderaCPU
import CalderaDiffusion
import CalderaGraph
import CalderaModels
import CalderaTestSupport
import Testing

/// Pictures that are decoded and encoded in tiles against the same ones made whole.
@Suite(.serialized) struct TilingTests {
    /// Group norms see a tile alone, so that tiles differ in tone; where one fades into the other nothing of it shows.
    /// Group norms take their statistics from all tiles; what is left comes from the tiles' own borders and from the
    /// attention in the middle, which sees a tile alone.
    @Test("Tiled pictures are the whole ones within 1/255 in the mean", arguments: ["embedded", "sd15", "sdxl"])
    func tiles(family: String) throws {
        try Self.withParts(of: family) { parts in
            let pipeline = try DiffusionPipeline(parts: parts, backend: CPUBackend(), precision: .fp32)
            let latents = try latents(height: 66, width: 80, pipeline)
            let whole = try pipeline.decode(latents, tiling: .off)
            let tiled = try pipeline.decode(latents, tiling: .on)
            #expect(tiled.shape == whole.shape && tiled != whole)
            let difference = Self.meanDifference(whole, tiled)
            #expect(difference < 1.0 / 255, "\(difference * 255) of 255")
            let width = whole.shape[2]
            // Each tile is 512 pixels wide: where the first ends and where the second begins.
            for column in [width - 512, 512] {
                let difference = Self.stepDifference(whole, tiled, at: column)
                #expect(difference < 1.0 / 255, "\(difference * 255) of 255 at column \(column)")
            }
        }
    }

    private static func withParts(of family: String, _ body: (PipelineParts) throws -> Void) throws {
        family == GoldenModel.embedded
            ? try GoldenModel(family).withParts(body) : try GoldenModel.withParts(of: family, body)
    }

    @Test("TAESD, which has no group norms, makes the whole picture's tiles") func withoutNorms() throws {
        let network = try GoldenModel(network: "taesd")
        try GoldenModel.withParts(of: "sd15") { parts in
            let taesd = parts.replacing(
                autoencoder: try makeAutoencoder(network.config("vae")), weights: try network.weights("vae"))
            let pipeline = try DiffusionPipeline(parts: taesd, backend: CPUBackend(), precision: .fp32)
            let picture = HostTensor.scene(height: 4 * 80, width: 4 * 96)
            let latents = try pipeline.encode(picture, seed: 1, tiling: .off)
            let encoded = try pipeline.encode(picture, seed: 1, tiling: .on)
            #expect(relativeL2(encoded, latents) < 1.0 / 255)
            let (whole, tiled) = (
                try pipeline.decode(latents, tiling: .off), try pipeline.decode(latents, tiling: .on)
            )
            let difference = Self.meanDifference(whole, tiled)
            #expect(tiled != whole && difference < 1.0 / 255, "\(difference * 255) of 255")
        }
    }

    @Test("An encoder's tiles join without a seam as well") func encoder() throws {
        try GoldenModel(GoldenModel.embedded).withParts { parts in
            let pipeline = try DiffusionPipeline(parts: parts, backend: CPUBackend(), precision: .fp32)
            let picture = HostTensor.scene(height: 528, width: 640)
            let whole = try pipeline.encode(picture, seed: 1, tiling: .off)
            let tiled = try pipeline.encode(picture, seed: 1, tiling: .on)
            #expect(tiled.shape == whole.shape && tiled != whole)
            let error = relativeL2(tiled, whole)
            #expect(error < 1.0 / 255, "\(error)")
        }
    }

    /// The encoding of a picture.
    private func latents(height: Int, width: Int, _ pipeline: DiffusionPipeline) throws -> HostTensor {
        let picture = HostTensor.scene(height: height * 8, width: width * 8)
        return try pipeline.encode(picture, seed: 3, tiling: .off)
    }

    /// How much the step between a column and the one before differs, in the mean over rows and channels.
    private static func stepDifference(_ left: HostTensor, _ right: HostTensor, at column: Int) -> Double {
        let (height, width, channels) = (left.shape[1], left.shape[2], left.shape[3])
        func step(_ values: [Float], _ index: Int) -> Double { Double(values[index] - values[index - channels]) / 2 }
        let (first, second) = (left.floats, right.floats)
        let indices = (0..<height).flatMap { row in
            (0..<channels).map { (row * width + column) * channels + $0 }
        }
        return indices.reduce(0) { $0 + abs(step(first, $1) - step(second, $1)) } / Double(indices.count)
    }

    /// Of pictures in -1...1, as shares of the whole range.
    static func meanDifference(_ left: HostTensor, _ right: HostTensor) -> Double {
        func clamped(_ value: Float) -> Double { min(max(Double(value) / 2 + 0.5, 0), 1) }
        let sum = zip(left.floats, right.floats).reduce(0) { $0 + abs(clamped($1.0) - clamped($1.1)) }
        return sum / Double(left.floats.count)
    }
}
