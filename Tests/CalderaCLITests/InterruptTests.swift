import CalderaTestSupport
import Foundation
import Testing

@Suite("Interrupted runs")
struct InterruptTests {
    @Test(
        "A signal ends a run within two seconds and leaves no file",
        arguments: [(SIGINT, "interrupted"), (SIGTERM, "terminated")], ["loading", "step 1/"])
    func interrupt(signal: (number: Int32, word: String), stage: String) throws {
        let folder = try TemporaryFolder()
        let run = try StartedProgram(
            executable: Program.path(),
            [
                "generate", "x", "--device", "cpu", "--steps", "1000", "--width", "256", "--height", "256",
                "--save-latents", "latents.safetensors",
            ], in: folder, environment: [:])
        #expect(run.waitForError(containing: stage, seconds: 60))
        let start = ContinuousClock.now
        run.send(signal.number)
        let outcome = run.outcome()
        #expect(ContinuousClock.now - start < .seconds(2))
        #expect(outcome.status == 128 + signal.number)
        #expect(outcome.lastErrorLine == "caldera: \(signal.word)")
        #expect(outcome.output.isEmpty)
        #expect(try folder.contents().isEmpty)
    }

    @Test("A signal ends the writing of prompts, of which none is printed")
    func interruptUpsampling() throws {
        let folder = try TemporaryFolder()
        let run = try StartedProgram(
            executable: Program.path(), ["upsample", "red circle", "--device", "cpu", "--count", "100000"],
            in: folder, environment: [:])
        // Nothing says when it has begun; the prompts take minutes.
        Thread.sleep(forTimeInterval: 1)
        let start = ContinuousClock.now
        run.send(SIGINT)
        let outcome = run.outcome()
        #expect(ContinuousClock.now - start < .seconds(2))
        #expect(outcome.status == 128 + SIGINT)
        #expect(outcome.lastErrorLine == "caldera: interrupted")
        #expect(outcome.output.isEmpty)
    }
}
