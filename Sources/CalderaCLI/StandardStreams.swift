import CalderaGraph
import Foundation

/// The standard output, which carries results alone, and the standard error, which carries everything else. Both are
/// unbuffered: what was written is out, whatever happens next.
enum StandardStreams {
    /// Opens /dev/null for each standard stream that the caller has closed; a file opened later would otherwise take
    /// its number, and results would be printed into that file.
    static func openMissing() {
        for descriptor: Int32 in 0...2 where fcntl(descriptor, F_GETFD) < 0 {
            // The lowest free number is taken, which is this one: those below are open by now.
            _ = open("/dev/null", O_RDWR)
        }
    }

    /// Writes the text and a newline, if it has none, to the standard output.
    /// Throws `CalderaError` when it cannot be written, but not when a reader has seen enough
    /// (`caldera devices | head -1`).
    static func print(_ text: String) throws {
        let code = write(terminated(text), to: STDOUT_FILENO)
        if code == 0 || code == EPIPE { return }
        throw CalderaError("The standard output could not be written: \(String(cString: strerror(code))).")
    }

    /// Writes a line to the standard error; where that is impossible there is nobody to tell.
    static func report(_ line: String) {
        _ = write(terminated(line), to: STDERR_FILENO)
    }

    /// Writes text to the standard error as it is, without a newline.
    static func reportRaw(_ text: String) {
        _ = write(text, to: STDERR_FILENO)
    }

    /// One line that says what went wrong.
    static func reportError(_ message: String) {
        report("caldera: error: " + message.onOneLine)
    }

    /// One line that a person should know and that does not stop the work.
    static func reportWarning(_ message: String) {
        report("caldera: warning: " + message.onOneLine)
    }

    static var errorIsTerminal: Bool { isatty(STDERR_FILENO) == 1 }

    /// Columns of the terminal behind the standard error; nil where it has none or does not say.
    static var errorWidth: Int? {
        var size = winsize()
        guard ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return nil }
        return Int(size.ws_col)
    }

    private static func terminated(_ text: String) -> String { text.hasSuffix("\n") ? text : text + "\n" }

    /// Writes everything; the result is 0 or the error's number.
    private static func write(_ text: String, to descriptor: Int32) -> Int32 {
        var text = text
        return text.withUTF8 { bytes in
            var rest = UnsafeRawBufferPointer(bytes)[...]
            while !rest.isEmpty {
                let written = Foundation.write(
                    descriptor, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count)
                if written < 0 && errno == EINTR { continue }
                if written < 0 && errno == EAGAIN {
                    waitUntilWritable(descriptor)
                    continue
                }
                guard written > 0 else { return written < 0 ? errno : EIO }
                rest = rest.dropFirst(written)
            }
            return 0
        }
    }

    /// Some callers hand over a non-blocking pipe.
    private static func waitUntilWritable(_ descriptor: Int32) {
        var entry = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        poll(&entry, 1, -1)
    }
}

extension String {
    /// The text with line breaks as spaces and other control characters made visible: names out of a broken or hostile
    /// file must neither break a line nor command the terminal.
    var onOneLine: String {
        var line = String.UnicodeScalarView()
        for scalar in unicodeScalars {
            if scalar == "\n" || scalar == "\t" {
                line.append(" ")
            } else if scalar.properties.generalCategory == .control {
                line.append(contentsOf: scalar.escaped(asASCII: true).unicodeScalars)
            } else {
                line.append(scalar)
            }
        }
        return String(line)
    }
}
