import CalderaCPU
import CalderaDiffusion
import CalderaGraph
import Testing

/// The memory of pictures on tiles: values that wait between the stretches of the network count where the host's memory
/// is the device's.
@Suite(.serialized) struct TiledMemoryTests {
    static let models = ["sd15", GoldenModel.embedded]
    static let cases = models.flatMap { model in [MemoryDevice.cpu, .vulkan].map { (model, $0) } }

    @Test("Tiles stay below a limit, as predicted within 10 %, to the same bits", arguments: cases)
    func decoding(model: String, device: MemoryDevice) throws {
        try withPipeline(model, device) { pipeline, backend in
            // Two tiles are enough for a software driver.
            let width = device == .cpu ? 80 : 32
            let request = Self.request(pipeline, height: 66, width: width)
            let latents = Self.latents(pipeline, height: 66, width: width)
            func measured() throws -> (peak: Int, picture: HostTensor) {
                let predicted = try #require(pipeline.predictMemory(request).parts.last).forecast.total
                backend.resetPeakMemory()
                let picture = try pipeline.decode(latents, tiling: .on)
                let peak = backend.peakMemory
                let error = Double(predicted - peak) / Double(peak)
                #expect(abs(error) <= 0.1, "\(predicted) predicted, \(peak) measured")
                return (peak, picture)
            }
            let free = try measured()
            let least = try #require(pipeline.leastMemory(request).last).bytes
            // On the device there is never more than a tile and the weights of one stretch.
            #expect(device == .cpu ? least < free.peak : least <= free.peak)
            for limit in Set([(free.peak + least) / 2, least]) {
                backend.memoryLimit = limit
                let bound = try measured()
                #expect(bound.peak <= limit)
                #expect(bound.picture.bits == free.picture.bits)
            }
            backend.memoryLimit = nil
            let difference = TilingTests.meanDifference(free.picture, try pipeline.decode(latents, tiling: .off))
            #expect(difference < 1.0 / 255, "\(difference * 255) of 255")
            backend.memoryLimit = least - 1
            let error = #expect(throws: CalderaError.self) { try pipeline.decode(latents, tiling: .on) }
            #expect(error?.message.contains("MiB at least") == true, "\(error?.message ?? "")")
        }
    }

    @Test("Values that wait count, and leave nothing behind", arguments: models)
    func waiting(model: String) throws {
        try withPipeline(model, .cpu) { pipeline, backend in
            let request = Self.request(pipeline, height: 66, width: 80)
            let before = backend.peakMemory
            let forecast = try #require(pipeline.predictMemory(request).parts.last).forecast
            let values = Self.latents(pipeline, height: 66, width: 80)
            #expect(forecast.waiting > 4 * values.shape.count)
            _ = try pipeline.decode(values, tiling: .on)
            #expect(backend.peakMemory - before >= forecast.waiting)
            backend.resetPeakMemory()
            #expect(backend.peakMemory == before)
        }
    }

    @Test("An encoder's tiles stay below a limit as well", arguments: models)
    func encoding(model: String) throws {
        try withPipeline(model, .cpu) { pipeline, backend in
            let scale = pipeline.parts.autoencoder.downscale
            let picture = HostTensor.scene(height: 66 * scale, width: 80 * scale)
            let free = try pipeline.encode(picture, seed: 1, tiling: .on)
            let peak = backend.peakMemory
            backend.memoryLimit = peak * 3 / 4
            backend.resetPeakMemory()
            let bound = try pipeline.encode(picture, seed: 1, tiling: .on)
            #expect(backend.peakMemory <= peak * 3 / 4)
            #expect(bound.bits == free.bits)
        }
    }

    @Test("A whole run on tiles is predicted within 10 %", arguments: [true, false])
    func run(isBound: Bool) throws {
        try withPipeline("sd15", .cpu) { pipeline, backend in
            let request = Self.request(pipeline, height: 40, width: 72)
            if isBound {
                backend.memoryLimit = try pipeline.predictMemory(request).parts.map(\.forecast.total).max()
            }
            let predicted = try pipeline.predictMemory(request).peak
            backend.resetPeakMemory()
            _ = try pipeline.run(request)
            let error = Double(predicted - backend.peakMemory) / Double(backend.peakMemory)
            #expect(abs(error) <= 0.1, "\(predicted) predicted, \(backend.peakMemory) measured")
        }
    }

    @Test("The largest tiles that fit are chosen, each half as large as the ones before", arguments: cases)
    func choice(model: String, device: MemoryDevice) throws {
        try withPipeline(model, device) { pipeline, backend in
            var request = Self.request(pipeline, height: 256, width: 200)
            request.tiling = .auto
            let whole = try #require(pipeline.predictMemory(request).parts.last)
            #expect(whole.tiles == nil)
            let least = try #require(pipeline.leastMemory(request).last).bytes
            var heights: [Int] = []
            var limit = whole.forecast.total * 2
            while limit >= least {
                backend.memoryLimit = limit
                let part = try #require(pipeline.predictMemory(request).parts.last)
                #expect(part.forecast.total <= limit)
                let height = part.tiles?.height ?? request.height
                if height != heights.last { heights.append(height) }
                limit = limit * 9 / 10
            }
            let scale = pipeline.parts.autoencoder.downscale
            #expect(heights == [256, 128, 64].map { $0 * scale })
        }
    }

    // MARK: Support

    /// Two steps to a picture of that many latents, on the smallest tiles.
    private static func request(_ pipeline: DiffusionPipeline, height: Int, width: Int) -> PipelineRequest {
        var request = PipelineRequest.small(scheduler: "euler")
        let scale = pipeline.parts.autoencoder.downscale
        (request.height, request.width) = (height * scale, width * scale)
        request.tiling = .on
        return request
    }

    private static func latents(_ pipeline: DiffusionPipeline, height: Int, width: Int) -> HostTensor {
        let shape: Shape = [1, height, width, pipeline.parts.autoencoder.latentChannels]
        return HostTensor(shape, (0..<shape.count).map { Float($0 * 37 % 101) / 50 - 1 })
    }

    private func withPipeline(
        _ model: String, _ device: MemoryDevice, _ body: (DiffusionPipeline, any Backend) throws -> Void
    ) throws {
        let open: (PipelineParts) throws -> Void = { parts in
            try device.withBackend { backend in
                try body(DiffusionPipeline(parts: parts, backend: backend, precision: device.precision), backend)
            }
        }
        if model == GoldenModel.embedded { return try GoldenModel(model).withParts(open) }
        try GoldenModel.withParts(of: model, open)
    }
}
