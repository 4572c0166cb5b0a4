import Caldera
import CalderaCPU
import CalderaDiffusion
import CalderaGraph
import CalderaTestSupport
import Testing

/// The memory of whole runs: predicted, kept below a limit, and without a say in the result.
@Suite(.serialized) struct PipelineMemoryTests {
    static let cases = ["sd15", "sdxl", GoldenModel.embedded].flatMap { model in
        [MemoryDevice.cpu, .vulkan].map { (model, $0) }
    }

    @Test("The peak is predicted within 10 %, with and without a limit", arguments: cases)
    func prediction(model: String, device: MemoryDevice) throws {
        try withPipeline(model, device) { pipeline, backend, size in
            let request = Self.request(size)
            let free = try measured(pipeline, backend, request)
            Self.check(free, "\(model) without a limit")
            // Between all that it takes and the least.
            let parts = try pipeline.predictMemory(request).parts.map(\.forecast)
            let largest = parts.map(\.total).max() ?? 0
            let limit = max(largest, free.peak * 3 / 4)
            backend.memoryLimit = limit
            let bound = try measured(pipeline, backend, request)
            Self.check(bound, "\(model) within \(limit)")
            #expect(bound.peak <= limit)
            let again = try measured(pipeline, backend, request)
            #expect(again.peak <= limit)
            if device == .cpu {
                #expect(bound.result.pictures.bits == free.result.pictures.bits)
                #expect(again.result.pictures.bits == free.result.pictures.bits)
            }
        }
    }

    @Test("Weights stream where the limit is below them, to the same bits", arguments: ["sd15", "sdxl"])
    func streaming(model: String) throws {
        try withPipeline(model, .cpu) { pipeline, backend, size in
            let request = Self.request(size)
            let free = try measured(pipeline, backend, request)
            let least =
                try pipeline.plans(request).map {
                    try backend.forecast($0.plan, weights: $0.weights, budget: 0).total
                }.max() ?? 0
            #expect(least < free.peak)
            backend.memoryLimit = least
            let bound = try measured(pipeline, backend, request)
            Self.check(bound, "\(model) at the least")
            #expect(bound.peak <= least)
            #expect(bound.result.latents.bits == free.result.latents.bits)
            #expect(bound.result.pictures.bits == free.result.pictures.bits)
        }
    }

    @Test("A limit below the least names the part and how much it needs", arguments: ["sd15", GoldenModel.embedded])
    func tooLittle(model: String) throws {
        try withPipeline(model, .cpu) { pipeline, backend, size in
            for limit in [1 << 10, 1 << 20] {
                backend.memoryLimit = limit
                let error = #expect(throws: CalderaError.self) { try pipeline.run(Self.request(size)) }
                let message = error?.message ?? ""
                #expect(["text_encoder", "UNet", "decoder"].contains(where: message.contains), "\(message)")
                #expect(message.contains("MiB"), "\(message)")
            }
        }
    }

    private struct Measurement {
        let predicted: Int
        let peak: Int
        let result: PipelineResult
    }

    private static func check(_ measurement: Measurement, _ what: String) {
        let error = Double(measurement.predicted - measurement.peak) / Double(measurement.peak)
        #expect(abs(error) <= 0.1, "\(what): \(measurement.predicted) predicted, \(measurement.peak) measured")
    }

    private func measured(
        _ pipeline: DiffusionPipeline, _ backend: any Backend, _ request: PipelineRequest
    ) throws -> Measurement {
        let predicted = try pipeline.predictMemory(request).peak
        // Under a limit a run begins with that; what was there before it does not count.
        if backend.memoryLimit != nil { pipeline.releaseAll() }
        backend.resetPeakMemory()
        let result = try pipeline.run(request)
        return Measurement(predicted: predicted, peak: backend.peakMemory, result: result)
    }

    private static func request(_ size: Int) -> PipelineRequest {
        var request = PipelineRequest.small(scheduler: "euler")
        (request.width, request.height) = (size, size)
        return request
    }

    private func withPipeline(
        _ model: String, _ device: MemoryDevice, _ body: (DiffusionPipeline, any Backend, Int) throws -> Void
    ) throws {
        let open: (PipelineParts) throws -> Void = { parts in
            try device.withBackend { backend in
                let pipeline = try DiffusionPipeline(parts: parts, backend: backend, precision: device.precision)
                try body(pipeline, backend, device == .cpu ? 128 : 64)
            }
        }
        if model == GoldenModel.embedded { return try GoldenModel(model).withParts(open) }
        try GoldenModel.withParts(of: model, open)
    }
}
