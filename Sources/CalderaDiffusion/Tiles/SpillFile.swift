import CalderaGraph
import Foundation

/// A file without a name, for values that have no place in memory: it goes when the object does, or the process.
///
/// It is written and read, not mapped: a full disk is then an error, and no page of it is this process's.
final class SpillFile {
    private let descriptor: Int32

    /// In `TMPDIR`, or in `/var/tmp`, which lies on a disk where `/tmp` may be memory.
    /// Throws `CalderaError` when no file can be made there.
    init() throws {
        let folder = ProcessInfo.processInfo.environment["TMPDIR"] ?? "/var/tmp"
        var template = Array("\(folder)/caldera-XXXXXX".utf8CString)
        descriptor = template.withUnsafeMutableBufferPointer { buffer in
            buffer.baseAddress.map { mkstemp($0) } ?? -1
        }
        guard descriptor >= 0 else {
            throw CalderaError(
                "Values that do not fit the memory limit cannot be kept in \(folder) (\(Self.reason(errno))): name a "
                    + "folder with TMPDIR, or allow more memory.")
        }
        _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
        template.withUnsafeBufferPointer { if let base = $0.baseAddress { _ = unlink(base) } }
    }

    deinit { close(descriptor) }

    /// Throws `CalderaError` when the disk is full or fails.
    func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws {
        try each(bytes.count) { done in
            pwrite(descriptor, bytes.baseAddress.map { $0 + done }, bytes.count - done, off_t(offset + done))
        }
    }

    /// Fills `bytes` with what was written there. Throws `CalderaError` when the disk fails.
    func read(into bytes: UnsafeMutableRawBufferPointer, at offset: Int) throws {
        try each(bytes.count) { done in
            pread(descriptor, bytes.baseAddress.map { $0 + done }, bytes.count - done, off_t(offset + done))
        }
    }

    /// Calls `transfer` with how many bytes are done until all are.
    private func each(_ count: Int, _ transfer: (Int) -> Int) throws {
        var done = 0
        while done < count {
            let moved = transfer(done)
            if moved < 0, errno == EINTR { continue }
            guard moved > 0 else {
                throw CalderaError(
                    "Values that do not fit the memory limit cannot be kept in a temporary file "
                        + "(\(Self.reason(moved < 0 ? errno : ENOSPC))): name a folder with more room with TMPDIR, or "
                        + "allow more memory.")
            }
            done += moved
        }
    }

    private static func reason(_ code: Int32) -> String { String(cString: strerror(code)) }
}
