import Foundation

/// What the operating system says of this machine's memory.
package enum HostMemory {
    /// The largest resident set of this process so far, in bytes (`getrusage`, which counts KiB on Linux).
    package static var peak: Int {
        var usage = rusage()
        guard getrusage(RUSAGE_SELF.rawValue, &usage) == 0 else { return 0 }
        return usage.ru_maxrss * 1024
    }
}
