import CalderaGraph
import CalderaTestSupport
import Foundation
import Testing

@Suite("Progress on a terminal")
struct TerminalTests {
    @Test("A bar is redrawn in place and never wider than the terminal", arguments: [30, 60])
    func bar(columns: Int) throws {
        let folder = try TemporaryFolder()
        let shown = try PseudoTerminal(columns: UInt16(columns)).run(
            ["generate", "x", "--device", "cpu", "--width", "64", "--height", "64", "--steps", "3"], in: folder)
        let frames = shown.components(separatedBy: "\r\u{1B}[K").map { $0.trimmingCharacters(in: .newlines) }
        #expect(frames.allSatisfy { $0.count < columns }, "\(frames)")
        for step in 1...3 { #expect(frames.contains { $0.contains("step \(step)/3") }, "\(frames)") }
        #expect(frames.contains { $0.hasPrefix("[") } == (columns == 60), "\(frames)")
        // The one line break is the last.
        #expect(shown.hasSuffix("\r\n"))
        #expect(shown.unicodeScalars.filter { $0 == "\n" }.count == 1)
    }

    @Test("What a language model writes is shown, and the prompt is printed behind it")
    func stream() throws {
        let run = ["upsample", "red circle", "--device", "cpu", "--seed", "3"]
        let prompt = try #require(try Program.run(run).lines.first)
        let shown = try PseudoTerminal(columns: 60).run(run, in: TemporaryFolder())
        #expect(shown.trimmingCharacters(in: .whitespacesAndNewlines) == prompt)
        #expect(shown.hasSuffix("\r\n\r\n"))
        #expect(try PseudoTerminal(columns: 60).run(run + ["--json"], in: TemporaryFolder()).isEmpty)
    }
}
