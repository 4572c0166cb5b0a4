import CalderaGraph
import CalderaTestSupport
import Foundation

/// The built program `caldera`, run as a process of its own: what a person meets.
enum Program {
    /// The program beside the test binary, in SwiftPM's build folder. Throws where it has not been built.
    static func path() throws -> String {
        let candidates = [CommandLine.arguments.first, Bundle.main.executablePath].compactMap { $0 }.map {
            URL(fileURLWithPath: $0).resolvingSymlinksInPath().deletingLastPathComponent().appendingPathComponent(
                "caldera")
        }
        if let found = candidates.first(where: { FileManager.default.isExecutableFile(atPath: $0.path) }) {
            return found.path
        }
        throw CalderaError(
            "The program caldera is not beside the tests (\(candidates.map(\.path))): swift build -c release first.")
    }

    /// Runs the program to its end and gives what it wrote.
    /// - Parameters:
    ///   - folder: the current folder of the run.
    ///   - environment: variables in addition to those of the tests.
    static func run(
        _ arguments: [String], in folder: TemporaryFolder? = nil, environment: [String: String] = [:]
    ) throws -> Outcome {
        try StartedProgram(executable: path(), arguments, in: folder, environment: environment).outcome()
    }

    /// Runs a shell command in which "$0" is the program and "$@" its arguments.
    static func shell(_ command: String, _ arguments: [String], in folder: TemporaryFolder? = nil) throws -> Outcome {
        let arguments = ["-c", command, try path()] + arguments
        return try StartedProgram(executable: "/bin/sh", arguments, in: folder, environment: [:]).outcome()
    }
}

/// What a run left.
struct Outcome {
    let output: String
    let error: String
    /// The exit code; nil where a signal ended the process, which no run may do.
    let status: Int32?

    /// The last line of the standard error.
    var lastErrorLine: String { error.split(separator: "\n").last.map(String.init) ?? "" }

    /// The lines of the standard output.
    var lines: [String] { output.split(separator: "\n").map(String.init) }

    /// The standard output as one JSON object. Throws where it is anything else.
    func json() throws -> [String: Any] {
        guard let object = try JSONSerialization.jsonObject(with: Data(output.utf8)) as? [String: Any] else {
            throw CalderaError("No JSON object: \(output)")
        }
        return object
    }
}

/// A run under way.
final class StartedProgram {
    private let process = Process()
    private let output = Pipe()
    private let error = Pipe()
    private let outputText = CollectedText()
    private let errorText = CollectedText()

    init(
        executable: String, _ arguments: [String], in folder: TemporaryFolder?, environment: [String: String]
    ) throws {
        process.executableURL = URL(fileURLWithPath: executable)
        process.arguments = arguments
        process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        process.currentDirectoryURL = folder?.url
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = output
        process.standardError = error
        try process.run()
        outputText.collect(output.fileHandleForReading)
        errorText.collect(error.fileHandleForReading)
    }

    /// Waits until the standard error holds the text; false when the run ends or `seconds` pass before.
    func waitForError(containing text: String, seconds: Double) -> Bool {
        let deadline = Date(timeIntervalSinceNow: seconds)
        while Date() < deadline {
            if errorText.text.contains(text) { return true }
            if !process.isRunning { return errorText.text.contains(text) }
            usleep(10_000)
        }
        return false
    }

    func send(_ signal: Int32) { kill(process.processIdentifier, signal) }

    /// Waits for the end.
    func outcome() -> Outcome {
        process.waitUntilExit()
        outputText.waitForEnd()
        errorText.waitForEnd()
        return Outcome(
            output: outputText.text, error: errorText.text,
            status: process.terminationReason == .exit ? process.terminationStatus : nil)
    }
}

/// Reads a pipe on a thread of its own, so that a program which writes much never waits for its reader.
private final class CollectedText: @unchecked Sendable {
    private let lock = NSLock()
    private var data = Data()
    private let end = DispatchSemaphore(value: 0)

    var text: String { lock.withLock { String(decoding: data, as: UTF8.self) } }

    func collect(_ handle: FileHandle) {
        Thread.detachNewThread { [self] in
            while true {
                let chunk = handle.availableData
                if chunk.isEmpty { break }
                lock.withLock { data.append(chunk) }
            }
            end.signal()
        }
    }

    func waitForEnd() { end.wait() }
}
