import Caldera
import CalderaCPU
import CalderaDiffusion
import CalderaGraph
import CalderaModels
import CalderaTestSupport
import Testing

/// Pictures that are decoded and encoded in tiles against the same ones made whole.
@Suite(.serialized) struct TilingTests {
    @Test("Seams of the embedded model's decoder are below 1/255 in the mean") func embedded() throws {
        try GoldenModel(GoldenModel.embedded).withParts(difference)
    }

    @Test("So are those of tiny models", arguments: ["sd15", "sdxl"]) func tiny(family: String) throws {
        try GoldenModel.withParts(of: family, difference)
    }

    private func difference(_ parts: PipelineParts) throws {
        let pipeline = try DiffusionPipeline(parts: parts, backend: CPUBackend(), precision: .fp32)
        let latents = try latents(height: 80, width: 96, pipeline)
        let whole = try pipeline.decode(latents, tiling: .off)
        let tiled = try pipeline.decode(latents, tiling: .on)
        #expect(tiled.shape == whole.shape && tiled != whole)
        let difference = Self.meanDifference(whole, tiled)
        print("DIFF", parts.family, difference)
        #expect(difference < 1.0 / 255, "\(difference * 255) of 255")
    }

    /// The encoding of a picture.
    private func latents(height: Int, width: Int, _ pipeline: DiffusionPipeline) throws -> HostTensor {
        let picture = HostTensor.scene(height: height * 8, width: width * 8)
        return try pipeline.encode(picture, seed: 3, tiling: .off)
    }

    /// Of pictures in -1...1, as shares of the whole range.
    static func meanDifference(_ left: HostTensor, _ right: HostTensor) -> Double {
        func clamped(_ value: Float) -> Double { min(max(Double(value) / 2 + 0.5, 0), 1) }
        let sum = zip(left.floats, right.floats).reduce(0) { $0 + abs(clamped($1.0) - clamped($1.1)) }
        return sum / Double(left.floats.count)
    }
}
