import CalderaGraph
import Foundation
import Synchronization

/// Writes a file so that it either appears whole under its name or not at all: the bytes go to a temporary file beside
/// it, which is flushed to the disk and then renamed.
///
/// The temporary file is called `.NAME.PID-N.partial`. Files under way are known to the whole process, because an
/// interrupt is: a handler for SIGINT that runs as ordinary code (a dispatch source, not the signal context itself,
/// since a lock is taken) calls `removePending()` before it ends the process.
public final class AtomicFile {
    private struct Pending {
        var paths: Set<String> = []
        var made = 0
    }

    private static let pending = Mutex(Pending())

    /// The temporary files that exist at this moment.
    public static var pendingPaths: [String] { pending.withLock { $0.paths.sorted() } }

    /// Deletes every temporary file under way; a writer that goes on afterwards fails when it renames.
    public static func removePending() {
        pending.withLock { pending in
            // A folder under way is a pending path too.
            for path in pending.paths where unlink(path) != 0 { try? FileManager.default.removeItem(atPath: path) }
            pending.paths = []
        }
    }

    /// Calls `body` to write the file's bytes, then gives the file its name. What stood there before is replaced only
    /// at the end. A path that is a device or a pipe (`/dev/stdout`) is written to directly.
    /// Throws `CalderaError` when the folder is missing or not writable or the disk is full, and what `body` throws;
    /// nothing is left behind then.
    public static func write(to path: String, _ body: (AtomicFile) throws -> Void) throws {
        if isDevice(path) {
            let file = try AtomicFile(writing: path, for: path, flags: O_WRONLY)
            defer { file.abandon() }
            try body(file)
            return try file.finish()
        }
        let temporary = beginPending(path)
        defer {
            unlink(temporary)
            endPending(temporary)
        }
        let file = try AtomicFile(writing: temporary, for: path, flags: O_WRONLY | O_CREAT | O_EXCL)
        defer { file.abandon() }
        try body(file)
        try file.finish(sync: true)
        guard rename(temporary, path) == 0 else { throw failure(path, errno) }
    }

    /// A name beside `path` for what is under way to become it, known to `removePending` from now on.
    static func beginPending(_ path: String) -> String {
        let temporary = temporaryPath(for: path)
        pending.withLock { _ = $0.paths.insert(temporary) }
        return temporary
    }

    static func endPending(_ temporary: String) { pending.withLock { _ = $0.paths.remove(temporary) } }

    /// Writes these bytes as one file; see `write(to:_:)`.
    public static func write(_ bytes: UnsafeRawBufferPointer, to path: String) throws {
        try write(to: path) { try $0.append(bytes) }
    }

    private var descriptor: Int32
    private let target: String

    private init(writing path: String, for target: String, flags: Int32) throws {
        self.target = target
        descriptor = open(path, flags | O_CLOEXEC, 0o666)
        guard descriptor >= 0 else { throw Self.failure(target, errno) }
    }

    /// Adds bytes at the end. Throws `CalderaError` when the disk is full or fails.
    public func append(_ bytes: UnsafeRawBufferPointer) throws {
        var rest = bytes[...]
        while !rest.isEmpty {
            let written = Foundation.write(descriptor, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count)
            if written < 0 && errno == EINTR { continue }
            guard written > 0 else { throw Self.failure(target, written < 0 ? errno : EIO) }
            rest = rest.dropFirst(written)
        }
    }

    private func finish(sync: Bool = false) throws {
        if sync && fsync(descriptor) != 0 { throw Self.failure(target, errno) }
        let result = close(descriptor)
        descriptor = -1
        guard result == 0 else { throw Self.failure(target, errno) }
    }

    private func abandon() {
        if descriptor >= 0 { close(descriptor) }
        descriptor = -1
    }

    private static func isDevice(_ path: String) -> Bool {
        var status = stat()
        guard stat(path, &status) == 0 else { return false }
        return status.st_mode & S_IFMT != S_IFREG && status.st_mode & S_IFMT != S_IFDIR
    }

    private static func temporaryPath(for path: String) -> String {
        let number = pending.withLock { pending in
            pending.made += 1
            return pending.made
        }
        let url = URL(fileURLWithPath: path)
        // Long names keep room for the ending: a file name has at most 255 bytes.
        let stem = String(decoding: url.lastPathComponent.utf8.prefix(200), as: UTF8.self)
        let name = ".\(stem).\(ProcessInfo.processInfo.processIdentifier)-\(number).partial"
        return url.deletingLastPathComponent().appendingPathComponent(name).path
    }

    static func failure(_ path: String, _ code: Int32) -> CalderaError {
        let folder = URL(fileURLWithPath: path).deletingLastPathComponent().path
        return switch code {
        case ENOSPC, EDQUOT:
            CalderaError("\(path) could not be written: the disk is full. Make room or choose another folder.")
        case ENOENT, ENOTDIR:
            CalderaError("\(path) could not be written: there is no folder \(folder). Create it first.")
        case EACCES, EPERM, EROFS:
            CalderaError("\(path) could not be written: \(folder) is not writable. Choose another folder.")
        case EISDIR, ENOTEMPTY, EEXIST:
            CalderaError("\(path) could not be written: it is a folder. Give the name of a file.")
        default:
            CalderaError("\(path) could not be written: \(String(cString: strerror(code))).")
        }
    }
}
