import CalderaGraph
import CalderaTestSupport
import Foundation
import Testing

@Suite("bench kernels --shader")
struct ShaderTests {
    private let measure = ["bench", "kernels", "--op", "layernorm", "--shape", "8x64", "--device", "vulkan"]

    /// The built-in kernel, as a person begins.
    private func builtIn(_ folder: TemporaryFolder) throws -> String {
        let outcome = try Program.run(measure + ["--print-shader"], in: folder)
        #expect(outcome.status == 0, "\(outcome.error)")
        return outcome.output
    }

    private func write(_ text: String, _ name: String, _ folder: TemporaryFolder) throws {
        try folder.write(name, Data(text.utf8))
    }

    @Test("A copy of a built-in kernel is right and stands beside it, a changed one is wrong")
    func rightAndWrong() throws {
        let folder = try TemporaryFolder()
        let text = try builtIn(folder)
        try write(text, "copy.comp", folder)
        let right = try Program.run(measure + ["--shader", "copy.comp", "--json", "report.json"], in: folder)
        #expect(right.status == 0, "\(right.error)")
        #expect(right.output.contains("*layer_norm.FP16"))
        #expect(right.output.contains("copy.comp as layer_norm.FP16"))
        let report = try Data(contentsOf: URL(fileURLWithPath: folder.path("report.json")))
        #expect(String(decoding: report, as: UTF8.self).contains("copy.comp as layer_norm.FP16"))

        let changed = text.replacingOccurrences(of: "STORE(", with: "STORE(0.5 * ")
        #expect(changed != text)
        try write(changed, "wrong.comp", folder)
        let wrong = try Program.run(measure + ["--shader", "wrong.comp"], in: folder)
        #expect(wrong.status == 1)
        #expect(wrong.output.contains("wrong.comp as layer_norm.FP16"))
        #expect(wrong.lastErrorLine.contains("wrong.comp is wrong"), "\(wrong.lastErrorLine)")
    }

    @Test("A fault ends with 1 before anything is measured, and one line that names file and line")
    func faults() throws {
        let folder = try TemporaryFolder()
        try write("#version 460\nvoid main() {\n    flaot x;\n}\n", "syntax.comp", folder)
        try write(
            "#version 460\nlayout(local_size_x = 8) in;\n"
                + "layout(push_constant) uniform P { float x; } p;\nshared float s;\nvoid main() { s = p.x; }\n",
            "other.comp", folder)
        let cases = [
            ("syntax.comp", "syntax.comp:3: "), ("other.comp", "does not fit the place of layer_norm"),
            ("none.comp", "none.comp could not be read"),
        ]
        for (file, mentions) in cases {
            let outcome = try Program.run(measure + ["--shader", file], in: folder)
            #expect(outcome.status == 1)
            #expect(outcome.output.isEmpty)
            #expect(outcome.error.split(separator: "\n").count == 1)
            #expect(outcome.lastErrorLine.contains(mentions), "\(outcome.lastErrorLine)")
        }
    }

    @Test("Without libshaderc the package is named")
    func missing() throws {
        let folder = try TemporaryFolder()
        let none = try Program.run(
            measure + ["--shader", "x.comp"], in: folder, environment: ["CALDERA_SHADERC": "none/libshaderc.so.1"])
        #expect(none.status == 1)
        #expect(none.lastErrorLine.contains("libshaderc1"), "\(none.lastErrorLine)")
        try write("no library", "libshaderc.so.1", folder)
        let broken = try Program.run(
            measure + ["--shader", "x.comp"], in: folder, environment: ["CALDERA_SHADERC": "./libshaderc.so.1"])
        #expect(broken.status == 1)
        #expect(broken.lastErrorLine.contains("does not load"), "\(broken.lastErrorLine)")
    }

    @Test("--watch measures at each save, goes on behind a fault, and ends with Ctrl-C")
    func watch() throws {
        let folder = try TemporaryFolder()
        let text = try builtIn(folder)
        try write("#version 460\nvoid main() {\n    flaot x;\n}\n", "mine.comp", folder)
        let run = try StartedProgram(
            executable: Program.path(), measure + ["--shader", "mine.comp", "--watch"], in: folder, environment: [:])
        #expect(run.waitForError(containing: "mine.comp:3: ", seconds: 60))
        #expect(run.waitForError(containing: "watching mine.comp", seconds: 60))
        let wrong = text.replacingOccurrences(of: "STORE(", with: "STORE(0.5 * ")
        try write(wrong, "mine.comp", folder)
        #expect(run.waitForError(containing: "mine.comp is wrong", seconds: 60))
        run.send(SIGINT)
        let outcome = run.outcome()
        #expect(outcome.status == 130)
        #expect(outcome.lastErrorLine == "caldera: interrupted")
        #expect(outcome.output.contains("mine.comp as layer_norm.FP16"))
    }
}
