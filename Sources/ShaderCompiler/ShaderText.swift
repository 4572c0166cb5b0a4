import Foundation

/// A Swift file with the texts of shaders and of what they include, for whoever compiles a shader at run time.
func generatedTexts(_ shaders: ShaderFolder) throws -> String {
    let includes = try entries(shaders.includes) { URL(filePath: $0).lastPathComponent }
    let kernels = try entries(shaders.kernels) { URL(filePath: $0).deletingPathExtension().lastPathComponent }
    return """
        // Written by ShaderCompiler from Shaders/; edits are lost.
        // swift-format-ignore-file

        /// The texts that the kernels were built from.
        package enum ShaderTexts {
            /// What shaders include, by file names such as `matrix.glsl`.
            package static let includes: [String: String] = [\(includes)]

            /// The kernels themselves, by names such as `gemm_broadcast`.
            package static let kernels: [String: String] = [\(kernels)]
        }

        """
}

/// `"name": text,` for each file, as string literals in which nothing has a meaning of its own.
private func entries(_ paths: [String], name: (String) -> String) throws -> String {
    if paths.isEmpty { return ":" }
    return try paths.map { path in
        let text = try String(contentsOfFile: path, encoding: .utf8)
        guard !text.contains("\"\"\"###") else { throw Failure("\(path): error: three quotation marks and ###") }
        return "\n\"\(name(path))\": ###\"\"\"\n\(text)\n\"\"\"###,"
    }.joined()
}
