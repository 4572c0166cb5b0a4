import CalderaGraph
import Synchronization

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Counts what a backend has allocated, and the most that it had at one time.
final class MemoryCounter: Sendable {
    private let bytes = Mutex((now: 0, peak: 0))

    var peak: Int { bytes.withLock { $0.peak } }

    func add(_ size: Int) {
        bytes.withLock { bytes in
            bytes.now += size
            bytes.peak = max(bytes.peak, bytes.now)
        }
    }
}

/// Owned memory, aligned to cache lines and not touched until it is used.
final class HostMemory {
    static let alignment = 64
    let base: UnsafeMutableRawPointer
    let size: Int
    private let counter: MemoryCounter

    /// Throws when the system has no `size` bytes for `purpose`.
    init(_ size: Int, for purpose: String, counter: MemoryCounter) throws {
        var pointer: UnsafeMutableRawPointer?
        guard size >= 0, posix_memalign(&pointer, HostMemory.alignment, max(size, HostMemory.alignment)) == 0,
            let base = pointer
        else {
            throw CalderaError(
                "There are no \(size) bytes of memory for \(purpose): choose a smaller picture or a smaller batch.")
        }
        self.base = base
        self.size = size
        self.counter = counter
        counter.add(size)
    }

    deinit {
        free(base)
        counter.add(-size)
    }

    /// What the system says could be allocated without swapping (`MemAvailable` of proc(5)), in bytes.
    static var available: Int? {
        guard let file = fopen("/proc/meminfo", "r") else { return nil }
        defer { fclose(file) }
        var line = [CChar](repeating: 0, count: 256)
        while fgets(&line, Int32(line.count), file) != nil {
            let bytes = line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
            let words = String(decoding: bytes, as: UTF8.self).split(whereSeparator: \.isWhitespace)
            if words.first == "MemAvailable:", words.count > 1 { return Int(words[1]).map { $0 * 1024 } }
        }
        return nil
    }
}
