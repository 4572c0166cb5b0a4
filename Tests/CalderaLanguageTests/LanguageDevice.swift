import CalderaCPU
import CalderaGPU
import CalderaGraph
import CalderaVulkan
import Testing

/// The backends and precisions on which every golden runs.
enum LanguageDevice: String, CaseIterable, CustomTestStringConvertible, Sendable {
    case cpuFP32 = "CPU fp32"
    case cpuBF16 = "CPU bf16"
    case vulkanFP32 = "Vulkan fp32"
    case vulkanFP16 = "Vulkan fp16"

    /// Those that this machine can run: bf16 needs a processor that has it, which a test of the backend asserts.
    static var available: [LanguageDevice] {
        let hasBF16 = (try? CPUBackend().supports(.bf16)) ?? false
        return allCases.filter { $0 != .cpuBF16 || hasBF16 }
    }

    var testDescription: String { rawValue }

    var precision: Precision {
        switch self {
        case .cpuFP32, .vulkanFP32: .fp32
        case .cpuBF16: .bf16
        case .vulkanFP16: .fp16
        }
    }

    /// The largest relative L2 error of logits.
    var bound: Double {
        switch self {
        case .cpuFP32, .vulkanFP32: 1e-4
        case .vulkanFP16: 1e-2
        case .cpuBF16: 3e-2
        }
    }

    /// Runs `body` on the device; on Vulkan under the validation layer, which must have nothing to say.
    func withBackend<Result>(_ body: (any Backend) throws -> Result) throws -> Result {
        switch self {
        case .cpuFP32, .cpuBF16:
            return try body(CPUBackend())
        case .vulkanFP32, .vulkanFP16:
            let instance = try VulkanInstance(validation: true)
            let result = try { () throws -> Result in
                let device = try #require(try instance.physicalDevices().first { $0.info.unusableReason == nil })
                return try body(VulkanBackend(device: VulkanDevice(device)))
            }()
            #expect(instance.messages.isEmpty, "the validation layer says: \(instance.messages.prefix(3))")
            return result
        }
    }
}
