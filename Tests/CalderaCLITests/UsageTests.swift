import CalderaTestSupport
import Testing

@Suite("Bad usage")
struct UsageTests {
    /// A command line, and words that the one line of error must hold.
    struct Case: Sendable, CustomTestStringConvertible {
        let arguments: [String]
        let mentions: [String]
        var testDescription: String { arguments.joined(separator: " ") }

        init(_ arguments: String..., mentions: [String]) {
            self.arguments = arguments
            self.mentions = mentions
        }
    }

    @Test(
        "Exits with 2, prints one line that names the fault, and leaves no file",
        arguments: [
            Case("paint", mentions: ["paint"]),
            Case("generate", mentions: ["prompt"]),
            Case("generate", "red", "circle", mentions: ["circle"]),
            Case("generate", "x", "--unknown", mentions: ["--unknown"]),
            Case("generate", "x", "--width", mentions: ["--width"]),
            Case("generate", "x", "--width", "0", mentions: ["--width", "at least 1"]),
            Case("generate", "x", "--width", "-8", mentions: ["--width", "-8", "at least 1"]),
            Case("generate", "x", "--width=-8", mentions: ["--width", "-8", "at least 1"]),
            Case("generate", "x", "--width", "100", mentions: ["multiple of 8", "96 or 104"]),
            Case("generate", "x", "--height", "1000000", "--device", "cpu", mentions: ["height", "1000000"]),
            Case("generate", "x", "--height", "99999999999999999999", mentions: ["--height", "whole number"]),
            Case("generate", "x", "--height", "64.5", mentions: ["--height", "whole number"]),
            Case("generate", "x", "--steps", "0", mentions: ["--steps", "at least 1"]),
            Case("generate", "x", "--steps", "-3", mentions: ["--steps", "-3"]),
            Case("generate", "x", "--steps", "1000000000", "--device", "cpu", mentions: ["1000000000", "steps"]),
            Case("generate", "x", "--count", "0", mentions: ["--count", "at least 1"]),
            Case("generate", "x", "--count", "1000000000", "--device", "cpu", mentions: ["count", "1000000000"]),
            Case("generate", "x", "--seed", "-1", mentions: ["--seed", "-1", "18446744073709551615"]),
            Case("generate", "x", "--seed", "18446744073709551616", mentions: ["--seed", "18446744073709551615"]),
            Case("generate", "x", "--guidance-scale", "nan", mentions: ["--guidance-scale", "finite"]),
            Case("generate", "x", "--guidance-scale", "much", mentions: ["--guidance-scale", "much"]),
            Case("generate", "x", "--guidance-scale", "1e9", "--device", "cpu", mentions: ["guidance scale"]),
            Case("generate", "x", "--scheduler", "dice", "--device", "cpu", mentions: ["dice", "euler"]),
            Case("generate", "x", "--device", "abacus", mentions: ["abacus", "vulkan:INDEX"]),
            Case("generate", "x", "--device", "vulkan:", mentions: ["vulkan:"]),
            Case("generate", "x", "--precision", "fp8", mentions: ["fp8", "fp16"]),
            Case("generate", "x", "--output", "picture.jpg", mentions: ["picture.jpg", ".png"]),
            Case("generate", "x", "--save-latents", "latents.png", mentions: ["latents.png", ".safetensors"]),
            Case("inspect", mentions: ["path"]),
            Case("inspect", "x", "--width", "7", mentions: ["--width", "multiple of 8"]),
            Case("explain", "--height", "0", mentions: ["--height", "at least 1"]),
            Case("explain", "--precision", "int8", mentions: ["int8"]),
            Case("devices", "cpu", mentions: ["cpu"]),
        ])
    func badUsage(_ usage: Case) throws {
        let folder = try TemporaryFolder()
        let outcome = try Program.run(usage.arguments, in: folder)
        #expect(outcome.status == 2)
        #expect(outcome.output.isEmpty)
        let errors = outcome.error.split(separator: "\n").filter { $0.hasPrefix("caldera: error: ") }
        #expect(errors.count == 1)
        #expect(outcome.lastErrorLine == errors.first.map(String.init))
        for text in usage.mentions { #expect(outcome.lastErrorLine.contains(text), "\(outcome.lastErrorLine)") }
        #expect(try folder.contents().isEmpty)
    }
}
