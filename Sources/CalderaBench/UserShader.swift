import CalderaGPU
import CalderaGraph
import CalderaVulkan
import Foundation

/// A shader of the user's own, compiled as it is on disk each time.
package final class UserShader {
    package let path: String
    private let compiler: Shaderc
    /// The shader and what it includes, as they were when they were last read.
    private var files: [String: FileStamp?] = [:]

    /// Throws `CalderaError` where libshaderc is not installed.
    package init(_ path: String) throws {
        self.path = path
        compiler = try Shaderc()
    }

    var name: String { URL(fileURLWithPath: path).lastPathComponent }

    /// Whether the shader, or a file that it includes, has been saved since it was last read.
    package var hasChanged: Bool { files.contains { FileStamp($0.key) != $0.value } }

    /// The shader in the places of built-in kernels, by their variants. Throws `CalderaError` where the file cannot be
    /// read, does not compile, or does not fit what a kernel is given.
    func compile(inPlaceOf uses: [KernelUse], on device: VulkanDeviceInfo) throws -> [String: KernelReplacement] {
        files = [path: FileStamp(path)]
        let text = try read()
        // Without this line compilers take the text for GLSL of 2004 and speak of everything but that.
        guard let version = text.firstMatch(of: #/(?m)^\s*#\s*version\s+(\d+)/#), (450...999) ~= Int(version.1) ?? 0
        else {
            throw CalderaError("\(path):1: it must begin with #version 460.")
        }
        var compiled: [String: KernelReplacement] = [:]
        for use in uses {
            let replacement = try compiled[use.variant] ?? compile(text, use)
            compiled[use.variant] = replacement
            try check(replacement.words, inPlaceOf: use, on: device)
        }
        return compiled
    }

    private func read() throws -> String {
        do {
            return try String(contentsOf: URL(fileURLWithPath: path), encoding: .utf8)
        } catch {
            throw CalderaError("\(path) could not be read: \(error.localizedDescription)")
        }
    }

    private func compile(_ text: String, _ use: KernelUse) throws -> KernelReplacement {
        let includes = ShaderIncludes(folder: URL(fileURLWithPath: path).deletingLastPathComponent())
        defer { files.merge(includes.files) { first, _ in first } }
        let words = try compiler.compile(text, file: path, macros: use.macros, includes: includes)
        return KernelReplacement(kernel: use.variant, name: name, digest: UserShader.digest(words), words: words)
    }

    private func check(_ words: [UInt32], inPlaceOf use: KernelUse, on device: VulkanDeviceInfo) throws {
        guard let builtIn = KernelBinaries.words(use.variant) else {
            throw CalderaError("This build of Caldera has no kernel named \(use.variant).")
        }
        let fault = ShaderInterface(words).fault(inPlaceOf: use, with: ShaderInterface(builtIn), on: device)
        if let fault { throw CalderaError("\(path) does not fit the place of \(use.kernel): \(fault).") }
    }

    /// FNV-1a over words.
    private static func digest(_ words: [UInt32]) -> UInt64 {
        words.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x0000_0100_0000_01b3 }
    }
}
