import CalderaGraph
import Foundation

/// A file mapped read-only for as long as the object lives: its pages come from the disk when they are first touched.
///
/// The mapping is never written, so it may be read from any thread. Another process that shortens the file while it
/// is mapped ends this one with SIGBUS; weights are replaced by renaming, which keeps the mapped file alive.
final class MappedFile: @unchecked Sendable {
    let path: String
    let bytes: UnsafeRawBufferPointer

    /// Throws `CalderaError` when there is no such file, it is no regular file, or it cannot be read or mapped.
    init(_ path: String) throws {
        self.path = path
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw Self.failure(path, errno) }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw Self.failure(path, errno) }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw CalderaError("\(path) is not a file: give the path of the file itself.")
        }
        guard status.st_size > 0 else {
            bytes = UnsafeRawBufferPointer(start: nil, count: 0)
            return
        }
        let count = Int(status.st_size)
        guard let start = mmap(nil, count, PROT_READ, MAP_PRIVATE, descriptor, 0), start != MAP_FAILED else {
            throw Self.failure(path, errno)
        }
        bytes = UnsafeRawBufferPointer(start: start, count: count)
    }

    deinit {
        guard let start = bytes.baseAddress else { return }
        munmap(UnsafeMutableRawPointer(mutating: start), bytes.count)
    }

    private static func failure(_ path: String, _ code: Int32) -> CalderaError {
        switch code {
        case ENOENT, ENOTDIR: CalderaError("There is no file \(path).")
        case EACCES, EPERM: CalderaError("\(path) cannot be read: check its permissions.")
        default: CalderaError("\(path) cannot be read: \(String(cString: strerror(code))).")
        }
    }
}
