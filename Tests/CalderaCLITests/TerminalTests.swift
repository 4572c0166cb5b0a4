import CalderaGraph
import CalderaTestSupport
import Foundation
import Testing

@Suite("Progress on a terminal")
struct TerminalTests {
    @Test("A bar is redrawn in place and never wider than the terminal", arguments: [30, 60])
    func bar(columns: Int) throws {
        let folder = try TemporaryFolder()
        let terminal = try PseudoTerminal(columns: UInt16(columns))
        let process = Process()
        process.executableURL = URL(fileURLWithPath: try Program.path())
        process.arguments = ["generate", "x", "--device", "cpu", "--width", "64", "--height", "64", "--steps", "3"]
        process.environment = ProcessInfo.processInfo.environment.merging(["TERM": "xterm"]) { $1 }
        process.currentDirectoryURL = folder.url
        process.standardOutput = FileHandle.nullDevice
        process.standardError = terminal.program
        try process.run()
        process.waitUntilExit()
        #expect(process.terminationStatus == 0)
        let shown = try terminal.close()
        let frames = shown.components(separatedBy: "\r\u{1B}[K").map { $0.trimmingCharacters(in: .newlines) }
        #expect(frames.allSatisfy { $0.count < columns }, "\(frames)")
        for step in 1...3 { #expect(frames.contains { $0.contains("step \(step)/3") }, "\(frames)") }
        #expect(frames.contains { $0.hasPrefix("[") } == (columns == 60), "\(frames)")
        // The one line break is the last.
        #expect(shown.hasSuffix("\r\n"))
        #expect(shown.unicodeScalars.filter { $0 == "\n" }.count == 1)
    }
}

/// A terminal whose other end is this process.
private final class PseudoTerminal {
    /// The end that a program takes for a terminal.
    let program: FileHandle
    private let reader: Int32

    // Linux's TIOCSPTLCK and TIOCGPTN (asm-generic/ioctls.h), which Swift cannot import since they are computed macros;
    // glibc's unlockpt and ptsname are hidden from it as well.
    private static let setLock: UInt = 0x4004_5431
    private static let getNumber: UInt = 0x8004_5430

    init(columns: UInt16) throws {
        reader = open("/dev/ptmx", O_RDWR | O_NOCTTY)
        var locked: Int32 = 0
        var number: UInt32 = 0
        guard reader >= 0, ioctl(reader, Self.setLock, &locked) == 0, ioctl(reader, Self.getNumber, &number) == 0 else {
            throw CalderaError("No pseudo-terminal can be made: \(String(cString: strerror(errno))).")
        }
        let end = open("/dev/pts/\(number)", O_RDWR | O_NOCTTY)
        guard end >= 0 else {
            throw CalderaError("No pseudo-terminal can be opened: \(String(cString: strerror(errno))).")
        }
        program = FileHandle(fileDescriptor: end, closeOnDealloc: true)
        var size = winsize(ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0)
        guard ioctl(end, UInt(TIOCSWINSZ), &size) == 0 else {
            throw CalderaError("The pseudo-terminal takes no size: \(String(cString: strerror(errno))).")
        }
    }

    deinit { _ = Foundation.close(reader) }

    /// Everything that the program has shown; it must have ended.
    func close() throws -> String {
        try program.close()
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            // Without a program at the other end, the read fails once everything has been read.
            let count = read(reader, &buffer, buffer.count)
            guard count > 0 else { return String(decoding: bytes, as: UTF8.self) }
            bytes += buffer[..<count]
        }
    }
}
