import Foundation

/// What the operating system says of this machine's memory.
enum HostMemory {
    /// The largest resident set of this process so far, in bytes (`getrusage`, which counts KiB on Linux).
    static var peak: Int {
        var usage = rusage()
        guard getrusage(RUSAGE_SELF, &usage) == 0 else { return 0 }
        return usage.ru_maxrss * 1024
    }

    /// Bytes that new work could use without swapping (`MemAvailable` of /proc/meminfo); nil where that is not known.
    static var available: Int? {
        guard let text = try? String(contentsOfFile: "/proc/meminfo", encoding: .utf8) else { return nil }
        let line = text.split(separator: "\n").first { $0.hasPrefix("MemAvailable:") }
        guard let kibibytes = line?.split(separator: " ").dropFirst().first.flatMap({ Int($0) }) else { return nil }
        return kibibytes * 1024
    }
}
