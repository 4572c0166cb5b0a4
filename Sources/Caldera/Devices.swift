import CalderaCPU
import CalderaGPU
import CalderaGraph
import CalderaVulkan

/// A device and what matters of it here.
public struct DeviceReport: Codable, Sendable {
    /// The number for `--device vulkan:INDEX`; nil for the processor.
    public let index: Int?
    public let name: String
    /// "discrete GPU", "integrated GPU", "virtual GPU", "software driver", "processor", ...
    public let type: String
    public let driver: String
    public let apiVersion: String?
    public let memoryBytes: Int
    public let fp16Arithmetic: Bool
    public let fp16Storage: Bool
    public let bf16: Bool
    public let cooperativeMatrixShapes: [String]
    /// The kinds of VK_NV_cooperative_matrix2 that Caldera's kernels can use.
    public let flexibleMatrices: [String]
    public let subgroupSize: Int?
    public let sharedMemoryBytes: Int?
    public let largestAllocationBytes: Int?
    /// Shapes whose kernels have been tuned on it; nil for the processor.
    public let tunedShapes: Int?
    /// Where the tuned kernels are kept, or why those that lie there are left aside; nil where there are none.
    public let tuning: String?
    /// Why Caldera cannot use it; nil when it can.
    public let unusableReason: String?
}

/// Every device of this machine, and what `--device auto` would take.
public struct DevicesReport: Codable, Sendable {
    public let devices: [DeviceReport]
    /// The name of the device that `auto` takes.
    public let chosen: String
    /// The GPU kernels that the build's shader compiler could not build, each with the reason; empty where none is missing.
    public let missingKernels: [String]
    /// What a person should know of the search: no loader, no driver.
    public let note: String?
}

/// Finds devices.
public enum Devices {
    /// Never fails: a machine without Vulkan has its processor, and the note says what is missing.
    public static func report() -> DevicesReport {
        var found: [VulkanPhysicalDevice] = []
        var note: String?
        do {
            found = try VulkanInstance().physicalDevices()
        } catch {
            note = "\(error)"
        }
        let best = DeviceSelection.best(of: found.filter { $0.info.kind != .software })
        return DevicesReport(
            devices: found.map(report) + [processor], chosen: best?.info.name ?? processor.name,
            missingKernels: KernelBinaries.missing.sorted { $0.key < $1.key }.map { "\($0.key): \($0.value)" },
            note: note)
    }

    private static func report(_ device: VulkanPhysicalDevice) -> DeviceReport {
        let info = device.info
        let tuned = TunedKernels(info, beside: PipelineCacheFile(identity: info.cacheIdentity))
        return DeviceReport(
            index: device.index, name: info.name, type: name(of: info.kind), driver: info.driver,
            apiVersion: info.apiVersion, memoryBytes: info.memory, fp16Arithmetic: info.float16Arithmetic,
            fp16Storage: info.float16Storage, bf16: false, cooperativeMatrixShapes: info.cooperativeMatrixShapes,
            flexibleMatrices: info.flexibleMatrices.map(\.description),
            subgroupSize: info.subgroupSize, sharedMemoryBytes: info.sharedMemory,
            largestAllocationBytes: info.largestAllocation, tunedShapes: tuned.count,
            tuning: tuned.warning ?? (tuned.count > 0 ? tuned.path : nil), unusableReason: info.unusableReason)
    }

    private static var processor: DeviceReport {
        let backend = try? CPUBackend()
        return DeviceReport(
            index: nil, name: "cpu", type: "processor",
            driver: backend.map { "oneDNN \($0.libraryVersion), \($0.threads) threads" } ?? "oneDNN", apiVersion: nil,
            memoryBytes: backend?.availableMemory ?? 0, fp16Arithmetic: false, fp16Storage: false,
            bf16: backend?.supports(.bf16) ?? false, cooperativeMatrixShapes: [], flexibleMatrices: [],
            subgroupSize: nil,
            sharedMemoryBytes: nil, largestAllocationBytes: nil, tunedShapes: nil, tuning: nil, unusableReason: nil)
    }

    private static func name(of kind: VulkanDeviceInfo.Kind) -> String {
        switch kind {
        case .discrete: "discrete GPU"
        case .integrated: "integrated GPU"
        case .virtual: "virtual GPU"
        case .software: "software driver"
        case .other: "other"
        }
    }
}
