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

    /// Pages that the kernel maps round one that is touched come in blocks of this many bytes ("fault around").
    private static let faultBlock = 64 << 10

    /// Begins to read a range from the disk, without waiting for it.
    func willRead(_ range: Range<Int>) { advise(range, MADV_WILLNEED) }

    /// Takes a range out of this process's resident memory; the system's cache keeps it, and it may be read again.
    func release(_ range: Range<Int>) { advise(range, MADV_DONTNEED) }

    /// One block more on both sides, since blocks are counted by address: a page of a neighbour that goes with the range
    /// comes back when it is touched.
    private func advise(_ range: Range<Int>, _ advice: Int32) {
        guard let start = bytes.baseAddress, !range.isEmpty else { return }
        let first = max(0, range.lowerBound / Self.faultBlock - 1) * Self.faultBlock
        let last = min((range.upperBound / Self.faultBlock + 2) * Self.faultBlock, bytes.count)
        // Advice: where the system does not follow it, nothing is lost but memory.
        _ = madvise(UnsafeMutableRawPointer(mutating: start + first), last - first, advice)
    }

    private static func failure(_ path: String, _ code: Int32) -> CalderaError {
        switch code {
        case ENOENT, ENOTDIR: CalderaError("There is no file \(path).")
        case EACCES, EPERM: CalderaError("\(path) cannot be read: check its permissions.")
        default: CalderaError("\(path) cannot be read: \(String(cString: strerror(code))).")
        }
    }
}
