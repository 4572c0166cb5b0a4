import CalderaGraph

/// Which device a person asks for.
public enum DeviceChoice: Sendable, Equatable {
    /// The best real GPU, else the processor; never a software driver.
    case auto
    case cpu
    /// The first usable Vulkan device, real GPUs before software drivers.
    case vulkan
    /// The Vulkan device of that number in `caldera devices`.
    case vulkanIndex(Int)
    /// The first Vulkan device whose name contains the text, whatever its case.
    case vulkanName(String)

    /// Reads `auto`, `cpu`, `vulkan`, `vulkan:INDEX` or `vulkan:NAME-PART`. Throws a usage error for anything else.
    public init(argument: String) throws {
        let parts = argument.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        switch (parts[0].lowercased(), parts.count > 1 ? parts[1] : nil) {
        case ("auto", nil): self = .auto
        case ("cpu", nil): self = .cpu
        case ("vulkan", nil): self = .vulkan
        case ("vulkan", let which?) where !which.isEmpty:
            self = Int(which).map(DeviceChoice.vulkanIndex) ?? .vulkanName(which)
        default:
            throw CalderaError.usage(
                "\"\(argument)\" is no device: choose auto, cpu, vulkan, vulkan:INDEX or vulkan:NAME-PART.")
        }
    }
}
