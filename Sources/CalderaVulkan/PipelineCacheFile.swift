import Foundation

/// The compiled pipelines of one device and driver, kept between processes under the XDG cache folder.
///
/// The file is a header of our own (magic, the device's identity, length, FNV-1a checksum) before the driver's data.
/// Whatever does not match is ignored: a driver may crash on a cache that is cut short or another driver's.
package struct PipelineCacheFile: Sendable {
    package let path: String?
    private let identity: [UInt8]
    private let folder: String?

    private static let magic = Array("CALDERA1".utf8)
    private static let largest = 1 << 30

    /// - Parameters:
    ///   - identity: bytes that name the device and its driver.
    ///   - folder: nil for `$XDG_CACHE_HOME/caldera`, or `~/.cache/caldera`.
    package init(identity: [UInt8], folder: String? = nil) {
        self.identity = identity
        self.folder = folder ?? PipelineCacheFile.defaultFolder
        path = PipelineCacheFile.path("pipelines", "bin", identity, in: self.folder)
    }

    /// The path of another file of the same device and driver in the same folder.
    package func neighbour(_ stem: String, _ ending: String) -> String? {
        PipelineCacheFile.path(stem, ending, identity, in: folder)
    }

    private static func path(_ stem: String, _ ending: String, _ identity: [UInt8], in folder: String?) -> String? {
        folder.map { "\($0)/\(stem)-\(String(checksum(identity[...]), radix: 16)).\(ending)" }
    }

    private static var defaultFolder: String? {
        let environment = ProcessInfo.processInfo.environment
        // The specification says that a relative path is to be ignored.
        if let base = environment["XDG_CACHE_HOME"], base.hasPrefix("/") { return "\(base)/caldera" }
        return environment["HOME"].map { "\($0)/.cache/caldera" }
    }

    /// The driver's data; empty when there is none, or it is not this device's, or it is damaged.
    package func load() -> [UInt8] {
        guard let path, let file = try? FileHandle(forReadingFrom: URL(fileURLWithPath: path)) else { return [] }
        defer { try? file.close() }
        guard let size = try? file.seekToEnd(), size < PipelineCacheFile.largest, (try? file.seek(toOffset: 0)) != nil,
            let data = try? file.readToEnd()
        else { return [] }
        let bytes = [UInt8](data)
        let header = header(for: [])
        guard bytes.count > header.count else { return [] }
        let content = bytes[header.count...]
        return self.header(for: content) == Array(bytes.prefix(header.count)) ? Array(content) : []
    }

    /// Writes beside the old file and renames; failure is silent, since a cache is only a help.
    package func save(_ content: [UInt8]) {
        guard let path else { return }
        let url = URL(fileURLWithPath: path)
        try? FileManager.default.createDirectory(
            at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
        try? Data(header(for: content[...]) + content).write(to: url, options: .atomic)
    }

    private func header(for content: ArraySlice<UInt8>) -> [UInt8] {
        let numbers = [UInt64(content.count), PipelineCacheFile.checksum(content)]
        return PipelineCacheFile.magic + identity + numbers.flatMap { withUnsafeBytes(of: $0.littleEndian, Array.init) }
    }

    /// FNV-1a, 64 bits (Fowler, Noll and Vo).
    private static func checksum(_ bytes: ArraySlice<UInt8>) -> UInt64 {
        bytes.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
    }
}
