import CalderaGraph

/// A shader in the place of a built-in kernel.
package struct KernelReplacement: Sendable {
    /// The built-in kernel's variant, such as `gemm.FP16`.
    package let kernel: String
    /// For people: the shader's file name.
    package let name: String
    /// Tells this text of the shader from every other one.
    package let digest: UInt64
    /// SPIR-V.
    package let words: [UInt32]

    package init(kernel: String, name: String, digest: UInt64, words: [UInt32]) {
        self.kernel = kernel
        self.name = name
        self.digest = digest
        self.words = words
    }
}

/// The SPIR-V of kernels, found once.
final class KernelLibrary {
    /// What stands in the place of one of them.
    let replacement: KernelReplacement?
    private var shaders: [String: [UInt32]] = [:]

    init(replacement: KernelReplacement? = nil) { self.replacement = replacement }

    func words(_ kernel: String) throws -> [UInt32] {
        if let known = shaders[kernel] { return known }
        let replaced = replacement.flatMap { $0.kernel == kernel ? $0.words : nil }
        guard let words = replaced ?? KernelBinaries.words(kernel) else {
            throw CalderaError("This build of Caldera has no kernel named \(kernel).")
        }
        shaders[kernel] = words
        return words
    }

    /// What tells the kernel from every other one on the device.
    func identity(_ kernel: String) -> String {
        guard let replacement, replacement.kernel == kernel else { return kernel }
        return "\(replacement.name) \(String(replacement.digest, radix: 16)) as \(kernel)"
    }

    /// The kernel's name for people.
    func title(_ kernel: String) -> String {
        guard let replacement, replacement.kernel == kernel else { return kernel }
        return "\(replacement.name) as \(kernel)"
    }
}
