import CalderaGraph
import CalderaTestSupport
import Foundation
import Testing

/// A terminal whose other end is this process.
final class PseudoTerminal {
    /// The end that a program takes for a terminal.
    private let program: FileHandle
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

    /// Everything that a successful run of the program shows as its standard error.
    func run(_ arguments: [String], in folder: TemporaryFolder) throws -> String {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: try Program.path())
        process.arguments = arguments
        process.environment = ProcessInfo.processInfo.environment.merging(["TERM": "xterm"]) { $1 }
        process.currentDirectoryURL = folder.url
        process.standardOutput = FileHandle.nullDevice
        process.standardError = program
        try process.run()
        process.waitUntilExit()
        #expect(process.terminationStatus == 0)
        return try close()
    }

    /// Everything that the program has shown; it must have ended.
    private func close() throws -> String {
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
