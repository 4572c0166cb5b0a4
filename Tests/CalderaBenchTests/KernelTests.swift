import Caldera
import CalderaBench
import CalderaDiffusion
import CalderaGraph
import CalderaTestSupport
import Foundation
import Testing

@Suite("Kernel measurements")
struct KernelTests {
    @Test("Shapes are the distinct ones of a plan, with their counts")
    func distinct() throws {
        let graph = Graph(dtype: .float16)
        var hidden = graph.input("x", [1, 8, 8, 32], .float16)
        for index in 0..<3 {
            hidden = try graph.convolution(
                hidden, weight: graph.weight("w\(index)", [32, 32, 3, 3]), bias: nil, padding: Padding(1), label: "c")
        }
        hidden = try graph.convolution(
            hidden, weight: graph.weight("v", [16, 32, 3, 3]), bias: nil, stride: 2, padding: Padding(1), label: "d")
        graph.output("y", graph.activation(hidden, .silu, label: "s"))
        let shapes = KernelSet.distinct(in: try Planner.plan(graph, fusing: false))
        #expect(
            shapes.map(\.shape.name) == [
                "conv 3x3 1x8x8x32 to 32", "conv 3x3 stride 2 1x8x8x32 to 16", "silu 1x4x4x16",
            ])
        #expect(shapes.map(\.count) == [3, 1, 1])
        #expect(shapes.map(\.shape.family) == [.conv, .conv, .elementwise])
    }

    @Test("A step of SD 1.5 at 256 pixels is 0.18 TFLOP for each entry of the batch")
    func operations() throws {
        let model = try BenchmarkModel.open(.sd15)
        var request = try model.planned(width: 256, height: 256)
        request.scheduler = "euler"
        let plans = PipelinePlans(parts: model.parts, precision: .fp16, limits: PlanLimits())
        let plan = try plans.denoiser(
            plans.denoising(request, schedule: model.parts.schedule(request), pictures: 1))
        let operations = plan.stepNodes.reduce(0) { $0 + NodeWork($1).operations }
        #expect(abs(operations / 2 / 0.18e12 - 1) < 0.03)
    }

    @Test("Each set has shapes of the families that its model has", arguments: KernelSet.allCases)
    func sets(set: KernelSet) throws {
        let shapes = try set.shapes(.fp16, limits: PlanLimits())
        #expect(Set(shapes.map(\.shape.name)).count == shapes.count)
        #expect(shapes.allSatisfy { $0.count > 0 })
        let families = Set(shapes.map(\.shape.family))
        switch set {
        case .square: #expect(families == [.gemm])
        case .llama: #expect(families == [.gemm, .attention, .layernorm, .elementwise])
        case .vae: #expect(families.isSuperset(of: [.conv, .groupnorm, .attention]))
        default: #expect(families == Set(KernelFamily.allCases))
        }
    }

    private func options(_ family: KernelFamily, _ extents: [Int], _ device: DeviceChoice) -> KernelBenchmark.Options {
        var options = KernelBenchmark.Options()
        options.families = [family]
        options.shapes = [extents]
        options.device = device
        options.secondsEach = 0
        return options
    }

    @Test(
        "Every variant computes what the processor does",
        arguments: [
            (KernelFamily.gemm, [40, 48, 64]), (.conv, [1, 6, 6, 32, 48]), (.attention, [1, 24, 10, 2, 32]),
            (.groupnorm, [1, 4, 4, 64]), (.layernorm, [12, 64]), (.elementwise, [12, 64]),
        ])
    func variants(family: KernelFamily, extents: [Int]) throws {
        let report = try KernelBenchmark(options(family, extents, .vulkan)).run { _ in }
        #expect(report.results.count { $0.isChosen } == 1)
        #expect(Set(report.results.map(\.variant)).count == report.results.count)
        #expect(report.results.count > ([.gemm, .conv].contains(family) ? 1 : 0))
        for result in report.results {
            #expect(result.seconds.median > 0)
            #expect(result.shareOfCeiling > 0)
            #expect(try #require(result.error) < 2e-3, "\(result.variant)")
            #expect((result.operations > 0) == [.gemm, .conv, .attention].contains(family))
        }
        #expect(report.ceilings.fp32OperationsPerSecond > 0)
        #expect(report.ceilings.copyBytesPerSecond > 0)
        if let matrices = report.ceilings.cooperativeOperationsPerSecond { #expect(matrices > 0) }
        #expect(report.environment.precision == "fp16")
        let read = try BenchmarkFile.decode(KernelReport.self, from: BenchmarkFile.encode(report))
        #expect(read.results == report.results)
        #expect(read.ceilings == report.ceilings)
    }

    @Test(
        "Every variant computes what the processor does, on a language model's shapes",
        arguments: [DeviceChoice.cpu, .vulkan])
    func language(device: DeviceChoice) throws {
        var options = KernelBenchmark.Options()
        options.sets = [.llama]
        options.families = [.attention, .elementwise, .layernorm]
        options.device = device
        options.precision = device == .cpu ? .fp32 : .fp16
        options.secondsEach = 0
        let report = try KernelBenchmark(options).run { _ in }
        let names = report.results.map(\.shape)
        // Pieces of a prompt, then single tokens.
        #expect(names.contains("attention 1x20 heads of 64, 64 to 1024 tokens of a cache"))
        #expect(names.contains("attention 1x20 heads of 64, 1 to 1024 tokens of a cache"))
        #expect(names.contains { $0.hasPrefix("rms_norm 1x1x1280") || $0.hasPrefix("rms_norm 1x1280") })
        #expect(names.contains { $0.hasPrefix("rotary 1x1x1280, 1024x64") })
        #expect(names.contains { $0.hasPrefix("swiglu 1x1x3840") })
        if device == .cpu { return }
        for result in report.results { #expect(try #require(result.error) < 2e-3, "\(result.shape)") }
    }

    @Test("A language model's products are those of pieces of a prompt and of single tokens")
    func rows() throws {
        let limits = PlanLimits()
        let shapes = try KernelSet.llama.shapes(.fp16, limits: limits).map(\.shape.name)
        #expect(shapes.contains { $0.hasPrefix("gemm 64x3840x1280") })
        #expect(shapes.contains { $0.hasPrefix("gemm 1x3840x1280") })
        #expect(shapes.contains { $0.hasPrefix("gemm 1x32013x1280") })
    }

    @Test("The processor's fp32 has nothing to be compared with")
    func processor() throws {
        let report = try KernelBenchmark(options(.gemm, [32, 32, 32], .cpu)).run { _ in }
        #expect(report.results.map(\.error) == [nil])
        #expect(report.results[0].operations == 2 * 32 * 32 * 32)
    }

    @Test("A comparison finds what grew beyond the bound, and nothing else")
    func comparison() throws {
        let report = try KernelBenchmark(options(.gemm, [32, 32, 32], .cpu)).run { _ in }
        let result = report.results[0]
        func scaled(_ factor: Double, variant: String? = nil) throws -> KernelReport {
            var changed = result
            changed.seconds = try #require(Spread(Array(repeating: result.seconds.median * factor, count: 3)))
            if let variant { changed.variant = variant }
            return KernelReport(environment: report.environment, ceilings: report.ceilings, results: [changed])
        }
        let slower = try KernelComparison(report, scaled(1.3), bound: 1.2)
        #expect(slower.regressions.count == 1)
        #expect(abs(slower.regressions[0].ratio - 1.3) < 1e-9)
        #expect(try KernelComparison(report, scaled(1.1), bound: 1.2).regressions.isEmpty)
        #expect(try KernelComparison(report, scaled(0.5), bound: 1.2).lines.count == 1)
        #expect(throws: CalderaError.self) { try KernelComparison(report, scaled(1, variant: "other"), bound: 1.2) }
    }

    @Test("Numbers that make no shape are bad usage")
    func badShapes() throws {
        for extents in [[], [1, 2], [1, 2, 0], [1, 2, 3, 4], [.max, .max, 2]] {
            #expect { try KernelShape(.gemm, extents: extents, .fp32) } throws: {
                ($0 as? CalderaError)?.kind == .usage
            }
        }
        #expect(throws: CalderaError.self) { try KernelShape(.groupnorm, extents: [1, 2, 2, 33], .fp32) }
    }
}
