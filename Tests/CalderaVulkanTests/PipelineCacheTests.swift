import CalderaVulkan
import Foundation
import Testing

struct PipelineCacheTests {
    private let identity: [UInt8] = Array(1...28)
    private let content: [UInt8] = (0..<1000).map { UInt8($0 % 251) }

    @Test func returnsWhatWasSaved() throws {
        try withTemporaryFolder { folder in
            let nested = folder + "/not/yet/there"
            PipelineCacheFile(identity: identity, folder: nested).save(content)
            #expect(PipelineCacheFile(identity: identity, folder: nested).load() == content)
            let files = try FileManager.default.contentsOfDirectory(atPath: nested)
            #expect(files.count == 1, "only the renamed file stays")
        }
    }

    @Test func ignoresAnotherDevicesCache() throws {
        try withTemporaryFolder { folder in
            let mine = PipelineCacheFile(identity: identity, folder: folder)
            var otherIdentity = identity
            otherIdentity[27] ^= 1
            let other = PipelineCacheFile(identity: otherIdentity, folder: folder)
            other.save(content)
            #expect(mine.path != other.path)
            #expect(mine.load() == [])
            // Even under the right name.
            try FileManager.default.copyItem(atPath: try #require(other.path), toPath: try #require(mine.path))
            #expect(mine.load() == [])
        }
    }

    @Test func ignoresEveryCutAndEveryFlippedByte() throws {
        try withTemporaryFolder { folder in
            let cache = PipelineCacheFile(identity: identity, folder: folder)
            let short = Array(content.prefix(40))
            cache.save(short)
            let url = URL(fileURLWithPath: try #require(cache.path))
            let whole = try Data(contentsOf: url)
            for length in 0..<whole.count {
                try whole.prefix(length).write(to: url)
                #expect(cache.load() == [], "cut to \(length) bytes")
            }
            for index in whole.indices {
                var damaged = whole
                damaged[index] ^= 0x40
                try damaged.write(to: url)
                #expect(cache.load() == [], "byte \(index) flipped")
            }
            try (whole + [0]).write(to: url)
            #expect(cache.load() == [], "one byte more")
            try whole.write(to: url)
            #expect(cache.load() == short)
        }
    }

    @Test func unwritableFolderIsNoError() throws {
        try withTemporaryFolder { folder in
            // A file where the folder should be stops root as well.
            try Data().write(to: URL(fileURLWithPath: folder + "/file"))
            let cache = PipelineCacheFile(identity: identity, folder: folder + "/file")
            cache.save(content)
            #expect(cache.load() == [])
        }
    }

    @Test func deviceSavesAndSurvivesDamage() throws {
        try withTemporaryFolder { folder in
            let instance = try VulkanInstance(validation: true)
            let path = try compileAndSave(instance, folder)
            let saved = try Data(contentsOf: URL(fileURLWithPath: path))
            #expect(saved.count > 32, "the driver's own header alone has 32 bytes")
            for damage in [saved, saved.prefix(saved.count / 2), Data(repeating: 0xff, count: 5000), Data()] {
                try damage.write(to: URL(fileURLWithPath: path))
                _ = try compileAndSave(instance, folder)
                #expect(try Data(contentsOf: URL(fileURLWithPath: path)).count > 32)
            }
            #expect(instance.messages == [])
        }
    }

    /// Opens the device, compiles a kernel, saves the cache, closes the device; the file's path.
    private func compileAndSave(_ instance: VulkanInstance, _ folder: String) throws -> String {
        let physical = try #require(try instance.physicalDevices().first { $0.info.unusableReason == nil })
        let cache = PipelineCacheFile(identity: physical.info.cacheIdentity, folder: folder)
        let device = try VulkanDevice(physical, pipelineCache: cache)
        _ = try device.pipeline("scale", words: ScaleKernel.words, constants: [2])
        device.savePipelineCache()
        return try #require(cache.path)
    }
}
