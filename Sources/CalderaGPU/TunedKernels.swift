import CalderaGraph
import CalderaVulkan
import Foundation

/// The fastest variants that the tuner has found on a device, kept between processes in a file beside the device's
/// pipeline cache. They hold for one device, one version of its driver and one version of the kernels.
package final class TunedKernels {
    /// The file's contents.
    private struct Contents: Codable {
        let format: String
        let device: String
        let driver: String
        /// The device and its driver, as the pipeline cache knows them.
        let identity: String
        /// The version of the kernels.
        let kernels: String
        /// Variants by the shapes that they are for.
        let choices: [String: String]
    }

    /// Where the choices are kept; nil where the user has no folder for caches.
    package let path: String?
    /// Why a file that is there was left aside, with the remedy; nil where there is none or it was read.
    package private(set) var warning: String?
    private let device: VulkanDeviceInfo
    private let kernels: String
    private var choices: [String: String] = [:]

    private static let format = "caldera.tuning.1"
    /// Bytes; a shape takes some hundred.
    private static let largest = 16 << 20

    /// Reads what an earlier process has kept. A file that is damaged, or another device's or driver's, is left aside.
    /// - Parameters:
    ///   - cache: the device's pipeline cache, beside which the file lies.
    ///   - kernels: the version of the kernels; a test gives another one.
    package init(_ device: VulkanDeviceInfo, beside cache: PipelineCacheFile, kernels: String = KernelBinaries.version)
    {
        self.device = device
        self.kernels = kernels
        path = cache.neighbour("tuning", "json")
        do {
            choices = try read() ?? [:]
        } catch {
            warning = "\(error)"
        }
    }

    /// How many shapes have been tuned.
    package var count: Int { choices.count }

    subscript(shape: TunedShape) -> String? { choices[shape.description] }

    /// Notes the fastest variant of a shape and writes the file: beside its place, then renamed. What another process has
    /// written meanwhile stays in it. Failure is silent, as for every cache: the choice then holds for this process.
    func keep(_ variant: KernelVariant, for shape: TunedShape) {
        choices[shape.description] = variant.description
        guard let path else { return }
        let others = (try? read() ?? [:]) ?? [:]
        let contents = Contents(
            format: TunedKernels.format, device: device.name, driver: device.driver, identity: identity,
            kernels: kernels, choices: others.merging(choices) { $1 })
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        guard let data = try? encoder.encode(contents) else { return }
        let url = URL(fileURLWithPath: path)
        try? FileManager.default.createDirectory(at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
        try? data.write(to: url, options: .atomic)
    }

    private var identity: String {
        let digits = device.cacheIdentity.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }
        return digits.joined()
    }

    /// Nil where there is no file. Throws `CalderaError` with the reason for leaving it aside.
    private func read() throws -> [String: String]? {
        guard let path, let file = try? FileHandle(forReadingFrom: URL(fileURLWithPath: path)) else { return nil }
        defer { try? file.close() }
        func leftAside(_ reason: String) -> CalderaError {
            CalderaError("The tuned kernels in \(path) are left aside: \(reason). Tune again with --tune.")
        }
        guard let data = try? file.read(upToCount: TunedKernels.largest + 1), data.count <= TunedKernels.largest,
            let contents = try? JSONDecoder().decode(Contents.self, from: data), contents.format == TunedKernels.format
        else { throw leftAside("the file is damaged") }
        guard contents.identity == identity else {
            throw leftAside("they are of another device or driver (\(contents.device), \(contents.driver))")
        }
        guard contents.kernels == kernels else { throw leftAside("they are of another version of the kernels") }
        return contents.choices
    }
}
