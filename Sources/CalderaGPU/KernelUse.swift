import CalderaGraph
import CalderaVulkan

/// How a node runs a kernel: all that a shader in the kernel's place is given.
package struct KernelUse: Sendable, Equatable {
    /// The variant, such as `gemm_broadcast.FP16`.
    package let variant: String
    /// Specialization constants by id.
    package let constants: [UInt32]
    /// Bytes of push constants.
    package let pushSize: Int
    package let groups: Int
    /// The size that the kernel's subgroups must have; nil where it does not matter.
    package let subgroupSize: Int?

    /// Whether it makes or adds parts of sums: no shader of one's own can take its place.
    package let isPart: Bool

    /// The file's name without ending: `gemm_broadcast`.
    package var kernel: String { String(variant.prefix { $0 != "." }) }

    /// The macros of the variant: `FP16`.
    package var macros: [String] {
        variant.drop { $0 != "." }.dropFirst().split(separator: "+").map(String.init)
    }
}

extension VulkanBackend {
    /// The kernels that a node runs, in order. Throws `CalderaError` where the device cannot run it.
    package func kernels(of node: Node, in plan: Plan) throws -> [KernelUse] {
        let dispatches = try dispatches(of: node, in: plan)
        let isDivided = dispatches.contains { $0.kernel.hasPrefix("merge_parts.") }
        return dispatches.map {
            KernelUse(
                variant: $0.kernel, constants: $0.constants, pushSize: $0.push.bytes.count, groups: $0.groups,
                subgroupSize: $0.subgroupSize, isPart: isDivided)
        }
    }

    /// What the device is and can do.
    package var deviceInfo: VulkanDeviceInfo { device.info }
}
