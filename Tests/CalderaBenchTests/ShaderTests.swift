import Caldera
import CalderaBench
import CalderaGPU
import CalderaGraph
import CalderaTestSupport
import Foundation
import Testing

@Suite("Shaders of one's own")
struct ShaderTests {
    private func benchmark(_ family: KernelFamily, _ extents: [Int]) throws -> KernelBenchmark {
        var options = KernelBenchmark.Options()
        options.families = [family]
        options.shapes = [extents]
        options.device = .vulkan
        options.secondsEach = 0
        return try KernelBenchmark(options)
    }

    private let ceilings = DeviceCeilings(
        fp32OperationsPerSecond: 1e12, halfOperationsPerSecond: nil, copyBytesPerSecond: 1e11)

    private static let kernels: [(KernelFamily, [Int], String?)] = [
        (.gemm, [40, 48, 64], nil), (.gemm, [40, 48, 64], "gemm"), (.conv, [1, 6, 6, 32, 48], nil),
        (.attention, [1, 24, 10, 2, 32], nil), (.groupnorm, [1, 4, 4, 64], "group_norm_apply"),
        (.layernorm, [12, 64], nil), (.elementwise, [12, 64], nil),
    ]

    @Test("The text of a built-in kernel does what the kernel does", arguments: kernels)
    func copies(family: KernelFamily, extents: [Int], kernel: String?) throws {
        let place = try ShaderBenchmark(try benchmark(family, extents), kernel: kernel)
        let folder = try TemporaryFolder()
        try folder.write("copy.comp", Data(try place.source().utf8))
        let outcome = try place.run(try UserShader(folder.path("copy.comp")), ceilings)
        #expect(outcome.fault == nil)
        #expect(!outcome.results.isEmpty)
        for result in outcome.results {
            #expect(result.variant.contains("copy.comp as \(place.kernel).FP16"))
            #expect(!result.isChosen)
            #expect(try #require(result.error) <= ShaderBenchmark.errorBound(.float16))
        }
    }

    @Test("Every built-in kernel is there as a text without includes")
    func texts() throws {
        let kernels = Set(KernelBinaries.names.map { String($0.prefix { $0 != "." }) })
        #expect(kernels.isSubset(of: ShaderTexts.kernels.keys))
        for kernel in kernels {
            let text = try #require(ShaderTexts.whole(kernel))
            #expect(text.contains("void main()"), "\(kernel)")
            #expect(!text.contains("#include \""), "\(kernel)")
        }
    }

    private static let head = """
        #version 460
        #extension GL_GOOGLE_include_directive : require
        """

    /// The shader in the place of gemm_broadcast or, on another driver, of gemm.
    private func outcome(_ text: String, files: [String: String] = [:]) throws -> ShaderBenchmark.Outcome {
        let folder = try TemporaryFolder()
        try folder.write("mine.comp", Data(text.utf8))
        for (name, text) in files { try folder.write(name, Data(text.utf8)) }
        let place = try ShaderBenchmark(try benchmark(.gemm, [16, 32, 8]), kernel: "gemm")
        return try place.run(try UserShader(folder.path("mine.comp")), ceilings)
    }

    @Test("A shader that leaves out its result is wrong, whatever the memory held")
    func empty() throws {
        let found = try outcome("\(Self.head)\nlayout(local_size_x_id = 0) in;\nvoid main() {}\n")
        #expect(try #require(found.fault).message.contains("not a number"))
    }

    @Test("Includes are found beside the shader first, then among Caldera's own")
    func includes() throws {
        let text = "\(Self.head)\n#include \"gemm_source.glsl\"\n#include \"matrix_tile.glsl\"\n"
        #expect(try outcome(text).fault == nil)
        let own = "layout(constant_id = 0) const uint THREADS = 1;\nvoid main() { finish(0, 0, 0.0); }\n"
        #expect(try outcome(text, files: ["matrix_tile.glsl": own]).fault != nil)
    }

    private static let misfits: [(String, String)] = [
        ("buffer B { float x; } b; void main() { b.x = 1; }", "descriptor"),
        ("layout(push_constant) uniform P { float x; } p; shared float s; void main() { s = p.x; }", "at byte 0"),
        (
            "layout(push_constant) uniform P { layout(offset = 64) uint x; } p; shared uint s; void main() { s = p.x; }",
            "at byte 64"
        ),
        ("layout(constant_id = 1) const float F = 1; shared float s; void main() { s = F; }", "constant 1"),
        ("shared double s; void main() { s = 1; }", "Float64"),
    ]

    @Test("A shader that wants something else than the kernel gets is refused", arguments: misfits)
    func misfit(text: String, mentions: String) throws {
        let whole =
            "\(Self.head)\nlayout(local_size_x = 64) in;\n"
            + text.replacingOccurrences(of: "buffer B", with: "layout(set = 0, binding = 0) buffer B")
        #expect {
            try outcome(whole)
        } throws: {
            let message = ($0 as? CalderaError)?.message ?? ""
            return message.contains("does not fit the place of gemm") && message.contains(mentions)
        }
    }

    @Test("What does not compile is told by file and line")
    func faults() throws {
        let cases = [
            ("\(Self.head)\nvoid main() { x = 1; }", "mine.comp:3: "), ("void main() {}", "#version"),
            ("\(Self.head)\n#include \"none.glsl\"\n", "mine.comp:3: "),
            ("\(Self.head)\n#include \"loop.glsl\"\n", "without end"),
            ("\(Self.head)\n#include \"part.glsl\"\nvoid main() {}\n", "part.glsl:2: "),
        ]
        let files = ["part.glsl": "\nfloat f() { return y; }\n", "loop.glsl": "#include \"loop.glsl\"\n"]
        for (text, mentions) in cases {
            #expect {
                try outcome(text, files: files)
            } throws: {
                ($0 as? CalderaError)?.message.contains(mentions) == true
            }
        }
    }

    @Test("An operation of several kernels, another kernel's name and the processor are bad usage")
    func usage() throws {
        #expect(throws: CalderaError.self) {
            try ShaderBenchmark(try benchmark(.groupnorm, [1, 4, 4, 64]), kernel: nil)
        }
        #expect {
            try ShaderBenchmark(try benchmark(.gemm, [8, 8, 8]), kernel: "conv")
        } throws: {
            ($0 as? CalderaError)?.kind == .usage
        }
        var options = KernelBenchmark.Options()
        options.families = [.gemm]
        options.shapes = [[8, 8, 8]]
        options.device = .cpu
        #expect(throws: CalderaError.self) { try ShaderBenchmark(try KernelBenchmark(options), kernel: nil) }
    }
}
