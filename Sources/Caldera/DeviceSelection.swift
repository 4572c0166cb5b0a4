import CalderaCPU
import CalderaGPU
import CalderaGraph
import CalderaVulkan

/// A backend and the arithmetic that it will use.
package struct DeviceSelection {
    package let backend: any Backend
    package let precision: Precision
    /// What a person should know of the device's tuned kernels: a damaged file, and the remedy.
    package private(set) var warnings: [String] = []

    /// Opens the device that a choice stands for.
    /// - Parameter tuning: where given, shapes that the device has not met are tuned before they are first used, and this
    ///   is told what is measured.
    /// Throws `CalderaError` when there is no such device, it is unusable, cannot compute at `precision`, or has nothing to
    /// tune.
    package init(
        _ choice: DeviceChoice, precision wanted: Precision?, tuning: ((String) -> Void)? = nil
    ) throws {
        guard let device = try DeviceSelection.vulkanDevice(choice) else {
            if tuning != nil {
                throw CalderaError.usage(
                    "The processor has no kernels to tune: leave --tune out, or name a Vulkan device with --device.")
            }
            precision = wanted ?? .fp32
            let processor = try CPUBackend()
            guard processor.supports(precision) else {
                throw CalderaError.usage(
                    "This processor does not compute in \(precision.rawValue): choose --precision fp32.")
            }
            backend = processor
            return
        }
        precision = wanted ?? .fp16
        guard precision != .bf16 else {
            throw CalderaError.usage("bf16 runs on the processor only: choose --precision fp16 or fp32 on Vulkan.")
        }
        let opened = try VulkanDevice(device)
        let tuned = TunedKernels(opened.info, beside: opened.pipelineCache)
        let vulkan = VulkanBackend(device: opened, tuned: tuned)
        vulkan.tuning = tuning
        backend = vulkan
        warnings = [tuned.warning].compactMap { $0 }
    }

    /// The Vulkan device of a choice; nil for the processor.
    private static func vulkanDevice(_ choice: DeviceChoice) throws -> VulkanPhysicalDevice? {
        switch choice {
        case .cpu:
            return nil
        case .auto:
            // Without a loader or a driver there is nothing to choose from, which is no error here.
            let devices = (try? VulkanInstance().physicalDevices()) ?? []
            return best(of: devices.filter { $0.info.kind != .software })
        case .vulkan:
            let devices = try VulkanInstance().physicalDevices()
            if let device = best(of: devices) { return device }
            throw CalderaError("There is no Vulkan device\(reasons(devices)): install a driver, or use --device cpu.")
        case .vulkanIndex(let index):
            let devices = try VulkanInstance().physicalDevices()
            guard devices.indices.contains(index) else { throw none("number \(index)", devices) }
            return devices[index]
        case .vulkanName(let part):
            let devices = try VulkanInstance().physicalDevices()
            let found = devices.first { $0.info.name.lowercased().contains(part.lowercased()) }
            guard let found else { throw none("named \"\(part)\"", devices) }
            return found
        }
    }

    /// The usable device of the best kind, and of the most memory among those.
    static func best(of devices: [VulkanPhysicalDevice]) -> VulkanPhysicalDevice? {
        let order: [VulkanDeviceInfo.Kind] = [.discrete, .virtual, .integrated, .other, .software]
        func rank(_ device: VulkanPhysicalDevice) -> (Int, Int, Int) {
            (order.firstIndex(of: device.info.kind) ?? order.count, -device.info.memory, device.index)
        }
        return devices.filter { $0.info.unusableReason == nil }.min { rank($0) < rank($1) }
    }

    private static func none(_ what: String, _ devices: [VulkanPhysicalDevice]) -> CalderaError {
        let names = devices.map { "\($0.index): \($0.info.name)" }.joined(separator: ", ")
        return CalderaError("There is no Vulkan device \(what); there are \(names.isEmpty ? "none" : names).")
    }

    private static func reasons(_ devices: [VulkanPhysicalDevice]) -> String {
        let lines = devices.compactMap { device in
            device.info.unusableReason.map { "\(device.info.name): \($0)" }
        }
        return lines.isEmpty ? "" : " that Caldera can use (\(lines.joined(separator: "; ")))"
    }
}
