import CalderaGraph
import CalderaVulkan
import Foundation
import Testing

/// The machine's first usable device, opened under the validation layer, with a pipeline cache folder of its own.
/// `body` must not let go of anything into the outside: once it returns, device and all, no message may have been heard.
func withValidatedDevice(_ body: (VulkanDevice) throws -> Void) throws {
    try withTemporaryFolder { folder in
        let instance = try VulkanInstance(validation: true)
        try openAndUse(instance, folder, body)
        #expect(instance.messages == [])
    }
}

/// In a function of its own, so that the device is closed, and leaks are reported, by its end.
@inline(never)
private func openAndUse(_ instance: VulkanInstance, _ folder: String, _ body: (VulkanDevice) throws -> Void) throws {
    let physical = try #require(try instance.physicalDevices().first { $0.info.unusableReason == nil })
    let cache = PipelineCacheFile(identity: physical.info.cacheIdentity, folder: folder)
    try body(try VulkanDevice(physical, pipelineCache: cache))
}

/// A new folder, gone when `body` is done.
func withTemporaryFolder(_ body: (String) throws -> Void) throws {
    let folder = FileManager.default.temporaryDirectory.appending(path: "caldera-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    try body(folder)
}

/// The message of the `CalderaError` that `body` throws; records an issue when it throws none.
func errorMessage(_ body: () throws -> Void) -> String {
    do {
        try body()
        Issue.record("no error was thrown")
        return ""
    } catch {
        return (error as? CalderaError)?.message ?? "another error: \(error)"
    }
}

extension VulkanBuffer {
    /// Every word of a mapped buffer.
    func words() throws -> [UInt32] {
        let mapped = try #require(mapped)
        return (0..<size / 4).map { mapped.loadUnaligned(fromByteOffset: 4 * $0, as: UInt32.self) }
    }

    func write(_ words: [UInt32]) throws {
        let mapped = try #require(mapped)
        for (index, word) in words.enumerated() {
            mapped.storeBytes(of: word, toByteOffset: 4 * index, as: UInt32.self)
        }
    }
}
