import CalderaBench
import CalderaDiffusion
import CalderaGraph
import CalderaTestSupport
import Foundation
import Testing

@Suite("Models with random weights")
struct RandomModelTests {
    @Test("Numbers are the same each time, have the right scale, and differ from tensor to tensor")
    func numbers() throws {
        let weights = RandomWeights([
            ("a.weight", [64, 16, 3, 3]), ("b.weight", [64, 16, 3, 3]), ("n.weight", [8]), ("n.bias", [8]),
        ])
        func values(_ name: String) throws -> [Float] {
            try weights.withBytes(name) { Array($0.bindMemory(to: Float.self)) }
        }
        let first = try values("a.weight")
        #expect(first.count == 64 * 16 * 9)
        let variance = first.reduce(0) { $0 + Double($1) * Double($1) } / Double(first.count)
        // 144 inputs; the standard error of this estimate is 0.9 %.
        #expect(abs(variance * 144 - 1) < 0.05)
        #expect(abs(first.reduce(0) { $0 + Double($1) }) / Double(first.count) < 0.005)
        #expect(try values("b.weight") != first)
        #expect(try values("a.weight") == first)
        #expect(try values("n.weight") == [Float](repeating: 1, count: 8))
        #expect(try values("n.bias") == [Float](repeating: 0, count: 8))
        #expect(throws: CalderaError.self) { try weights.withBytes("c") { _ in } }
    }

    /// Parameters as diffusers and transformers count them for the published models.
    @Test(
        "Each has as many parameters as the published one",
        arguments: [
            (BenchmarkArchitecture.sd15, 859_520_964), (.sd21, 865_910_724), (.sdxl, 2_567_463_684),
            (.vae, 859_520_964),
        ])
    func parameters(architecture: BenchmarkArchitecture, unet: Int) throws {
        let parts = try BenchmarkModel.open(architecture).parts
        #expect(count(parts.unetWeights) == unet)
        #expect(count(parts.autoencoderWeights) == 83_653_863)
        if architecture == .sd15 { #expect(parts.encoders.map { count($0.weights) } == [123_060_480]) }
        if architecture == .sdxl { #expect(parts.encoders.map { count($0.weights) } == [123_060_480, 694_659_840]) }
    }

    @Test("The refiner has one encoder and five time ids")
    func refiner() throws {
        let parts = try BenchmarkModel.open(.refiner).parts
        #expect(parts.encoders.map(\.name) == ["text_encoder_2"])
        #expect(parts.unet.config.addedInputChannels == 2560)
        #expect(parts.requiresAestheticsScore)
    }

    private func count(_ weights: any WeightSource) -> Int {
        weights.names.reduce(0) { $0 + (weights.info($1)?.shape.count ?? 0) }
    }

    @Test("A measurement is a report with every stage, which reads back as it was written")
    func report() throws {
        var options = ModelBenchmark.Options(.vae)
        options.width = 32
        options.height = 64
        options.repeats = 2
        options.device = .cpu
        options.command = ["caldera", "bench", "it's"]
        var stages: [String] = []
        let report = try ModelBenchmark(options).run { stages.append($0) }
        #expect(stages == ["vae encoder", "vae decoder"])
        let folder = try TemporaryFolder()
        try BenchmarkFile.write(report, to: folder.path("report.json"))
        let read = try BenchmarkFile.read(ModelReport.self, from: folder.path("report.json"))
        #expect(read.environment == report.environment)
        #expect(read.environment.command == "caldera bench 'it'\\''s'")
        #expect((read.width, read.height, read.batch) == (32, 64, 1))
        #expect(read.stepSeconds == nil)
        #expect(read.decodeSeconds == report.decodeSeconds)
        let decode = try #require(read.decodeSeconds)
        #expect(decode.count == 2)
        #expect(0 < decode.min && decode.min <= decode.median && decode.median <= decode.max)
        #expect(read.encodeSeconds?.count == 2)
        #expect(read.peakDeviceBytes >= read.parts.map(\.weightBytes).max() ?? .max)
        #expect(read.peakHostBytes > 0)
        #expect(read.parts.map(\.name) == stages)
        #expect(read.layers.contains { $0.label == "decoder.conv_in" && $0.shape == [1, 8, 4, 512] })
        let keys = try #require(
            JSONSerialization.jsonObject(with: BenchmarkFile.encode(report)) as? [String: Any])
        for key in ["decode_seconds", "encode_seconds", "peak_device_bytes", "peak_host_bytes", "environment"] {
            #expect(keys[key] != nil, "\(key)")
        }
    }

    @Test("Only the parts that are asked for are measured")
    func parts() throws {
        var options = ModelBenchmark.Options(.vae)
        options.parts = [.decoder]
        options.width = 32
        options.height = 32
        options.repeats = 1
        options.device = .vulkan
        let report = try ModelBenchmark(options).run { _ in }
        #expect(report.parts.map(\.name) == ["vae decoder"])
        #expect(report.encodeSeconds == nil)
        #expect(report.decodeSeconds?.count == 1)
        let part = report.parts[0]
        #expect(try #require(part.recordSeconds) > 0)
        // The host's part of a run is less than all of it.
        let host = try #require(part.hostSeconds)
        #expect(host > 0 && host < part.firstRunSeconds)
        options.parts = [.unet]
        #expect { try ModelBenchmark(options) } throws: { ($0 as? CalderaError)?.kind == .usage }
    }

    @Test("SDXL's arena at 1024 pixels under guidance is hardly larger than what is alive at once")
    func arena() throws {
        let model = try BenchmarkModel.open(.sdxl)
        var request = try model.planned(width: 1024, height: 1024)
        request.scheduler = "euler"
        for precision in [Precision.fp16, .fp32] {
            let plans = PipelinePlans(parts: model.parts, precision: precision, limits: PlanLimits())
            let plan = try plans.denoiser(
                plans.denoising(request, schedule: model.parts.schedule(request), pictures: 1))
            #expect(plan.stepNodes.contains { $0.output.shape == [2, 128, 128, 320] })
            #expect(Double(plan.arenaSize) <= 1.15 * Double(plan.largestLiveSet))
        }
    }

    @Test("A file that is no report is an error that names it")
    func badReport() throws {
        let folder = try TemporaryFolder()
        let path = try folder.write("other.json", "{}")
        #expect { try BenchmarkFile.read(ModelReport.self, from: path) } throws: { "\($0)".contains("other.json") }
        #expect(throws: CalderaError.self) { try BenchmarkFile.check(folder.url.path) }
        #expect(throws: CalderaError.self) { try BenchmarkFile.check(folder.path("none/report.json")) }
    }
}
