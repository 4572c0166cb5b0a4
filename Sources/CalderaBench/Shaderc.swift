import CShaderc
import CalderaGraph
import Foundation

/// libshaderc, found at run time.
struct Shaderc {
    private let functions: CShaderc

    /// Opens the library that CALDERA_SHADERC names, else the one of Tools/setup, else the system's.
    /// Throws `CalderaError` where there is none that can be loaded.
    init() throws {
        var functions = CShaderc()
        var faults: [String] = []
        for library in Shaderc.libraries() {
            guard let fault = cshaderc_load(library, &functions) else {
                self.functions = functions
                return
            }
            faults.append(String(cString: fault))
        }
        // A library that is not there says less than one that is there and broken.
        let missing = "cannot open shared object file"
        if let fault = faults.first(where: { !$0.contains(missing) }) {
            throw CalderaError(
                "libshaderc, which compiles shaders, does not load (\(fault)): install one that does, and name it in "
                    + "CALDERA_SHADERC.")
        }
        throw CalderaError(
            "Compiling a shader needs libshaderc, which is not on this system: install it (on Debian and Ubuntu the "
                + "package libshaderc1), or name it in CALDERA_SHADERC.")
    }

    /// The last names are those of Debian and Ubuntu, and of Google's builds and the Vulkan SDK.
    private static func libraries() -> [String] {
        if let named = ProcessInfo.processInfo.environment["CALDERA_SHADERC"], !named.isEmpty { return [named] }
        return [setUpLibrary].compactMap { $0 } + ["libshaderc.so.1", "libshaderc_shared.so.1", "libshaderc_shared.so"]
    }

    /// What Tools/setup has made for a program that lies in a build folder.
    private static var setUpLibrary: String? {
        var folder = Bundle.main.bundleURL.resolvingSymlinksInPath()
        while folder.path != "/" {
            if folder.lastPathComponent == ".build" {
                let path = folder.appendingPathComponent("tools/shaderc/libshaderc_shared.so.1").path
                return FileManager.default.fileExists(atPath: path) ? path : nil
            }
            folder.deleteLastPathComponent()
        }
        return nil
    }

    /// SPIR-V of a compute shader for Vulkan 1.3, as unoptimised as the built-in kernels are.
    ///
    /// - Parameters:
    ///   - file: its name in messages.
    ///   - macros: each defined as 1.
    /// Throws `CalderaError` with file and line where it does not compile.
    func compile(_ text: String, file: String, macros: [String], includes: ShaderIncludes) throws -> [UInt32] {
        guard let compiler = functions.compiler_initialize?(), let options = functions.compile_options_initialize?()
        else { throw CalderaError("libshaderc could not be started.") }
        defer {
            functions.compile_options_release?(options)
            functions.compiler_release?(compiler)
        }
        functions.compile_options_set_target_env?(
            options, Int32(CSHADERC_TARGET_VULKAN), UInt32(CSHADERC_VULKAN_1_3))
        for macro in macros {
            functions.compile_options_add_macro_definition?(options, macro, macro.utf8.count, "1", 1)
        }
        functions.compile_options_set_include_callbacks?(
            options, resolveInclude, releaseInclude, Unmanaged.passUnretained(includes).toOpaque())
        return try withExtendedLifetime(includes) {
            let result = functions.compile_into_spv?(
                compiler, text, text.utf8.count, Int32(CSHADERC_COMPUTE_SHADER), file, "main", options)
            guard let result else { throw CalderaError("libshaderc has no memory left for \(file).") }
            defer { functions.result_release?(result) }
            return try words(of: result, file)
        }
    }

    private func words(of result: UnsafeMutableRawPointer, _ file: String) throws -> [UInt32] {
        guard functions.result_get_compilation_status?(result) == Int32(CSHADERC_SUCCESS) else {
            let message = functions.result_get_error_message?(result).map { String(cString: $0) } ?? ""
            throw Shaderc.error(message, file)
        }
        let count = functions.result_get_length?(result) ?? 0
        guard let bytes = functions.result_get_bytes?(result), count >= 20, count.isMultiple(of: 4) else {
            throw CalderaError("libshaderc made no SPIR-V of \(file).")
        }
        let buffer = UnsafeRawBufferPointer(start: bytes, count: count)
        return (0..<count / 4).map { buffer.loadUnaligned(fromByteOffset: 4 * $0, as: UInt32.self) }
    }

    /// The first of the compiler's lines `file:line: error: text`, and how many there are.
    private static func error(_ message: String, _ file: String) -> CalderaError {
        let errors = message.split(separator: "\n").filter { $0.contains(": error: ") }
        guard let first = errors.first else {
            return CalderaError("\(file) does not compile: \(message.trimmingCharacters(in: .whitespacesAndNewlines))")
        }
        let text = first.replacingOccurrences(of: ": error: ", with: ": ").trimmingCharacters(in: .whitespaces)
        return CalderaError(text + (errors.count > 1 ? " (the first of \(errors.count) errors)" : ""))
    }
}

/// Files that include one another beyond this never end.
private let deepestInclude = 64

/// Called by the compiler for each `#include`.
private let resolveInclude: CShadercResolve = { includes, requested, _, requesting, depth in
    guard let includes, let requested, let requesting else { return nil }
    let isTooDeep = depth > deepestInclude
    let source = Unmanaged<ShaderIncludes>.fromOpaque(includes).takeUnretainedValue()
    let found = isTooDeep ? nil : source.find(String(cString: requested), from: String(cString: requesting))
    let name = found?.name ?? ""
    let fault =
        isTooDeep
        ? "files include each other without end" : "there is no such file beside the shader or among Caldera's own"
    let text = found?.text ?? fault
    let result = UnsafeMutablePointer<CShadercInclude>.allocate(capacity: 1)
    result.initialize(
        to: CShadercInclude(
            source_name: strdup(name), source_name_length: name.utf8.count, content: strdup(text),
            content_length: text.utf8.count, user_data: nil))
    return result
}

private let releaseInclude: CShadercRelease = { _, include in
    guard let include else { return }
    free(UnsafeMutablePointer(mutating: include.pointee.source_name))
    free(UnsafeMutablePointer(mutating: include.pointee.content))
    include.deallocate()
}
