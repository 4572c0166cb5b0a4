import CalderaGraph
import Synchronization

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Counts what a backend, or one executable of it, has allocated, and the most that it had at one time.
final class MemoryCounter: Sendable {
    private let bytes = Mutex((now: 0, peak: 0))
    private let whole: MemoryCounter?

    /// - Parameter whole: what this one's allocations are part of.
    init(partOf whole: MemoryCounter? = nil) { self.whole = whole }

    var now: Int { bytes.withLock { $0.now } }
    var peak: Int { bytes.withLock { $0.peak } }

    func resetPeak() { bytes.withLock { $0.peak = $0.now } }

    func add(_ size: Int) {
        bytes.withLock { bytes in
            bytes.now += size
            bytes.peak = max(bytes.peak, bytes.now)
        }
        whole?.add(size)
    }
}

/// Owned memory, aligned to cache lines, of which nothing is resident until it is used.
///
/// Large pieces are mapped apart, so that all of them goes back to the system when the object goes; the C library would
/// keep pieces of up to 32 MiB among its free lists.
final class HostMemory {
    static let alignment = 64
    private static let mappedFrom = 256 << 10

    let base: UnsafeMutableRawPointer
    let size: Int
    private let counter: MemoryCounter

    /// Throws when the system has no `size` bytes for `purpose`. With `isForecast` addresses are all that is wanted, and
    /// the system is not asked whether it has so much.
    init(_ size: Int, for purpose: String, counter: MemoryCounter, isForecast: Bool = false) throws {
        guard size >= 0, let base = HostMemory.allocate(size, isForecast: isForecast) else {
            throw CalderaError(
                "There are no \(size) bytes of memory for \(purpose): choose a smaller picture or a smaller batch.")
        }
        self.base = base
        self.size = size
        self.counter = counter
        counter.add(size)
    }

    deinit {
        if size >= HostMemory.mappedFrom {
            munmap(base, size)
        } else {
            free(base)
        }
        counter.add(-size)
    }

    private static func allocate(_ size: Int, isForecast: Bool) -> UnsafeMutableRawPointer? {
        var pointer: UnsafeMutableRawPointer?
        if size < mappedFrom {
            return posix_memalign(&pointer, alignment, max(size, alignment)) == 0 ? pointer : nil
        }
        let flags = MAP_PRIVATE | MAP_ANONYMOUS | (isForecast ? MAP_NORESERVE : 0)
        pointer = mmap(nil, size, PROT_READ | PROT_WRITE, flags, -1, 0)
        return pointer == MAP_FAILED ? nil : pointer
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
