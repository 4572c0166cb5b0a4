import Foundation
import PackagePlugin

/// Builds `Shaders/` at the top of the package into Swift files of SPIR-V binaries and of texts for the target it is applied to.
@main
struct CompileShaders: BuildToolPlugin {
    func createBuildCommands(context: PluginContext, target: Target) throws -> [Command] {
        let package = context.package.directoryURL
        let shaders = package.appending(path: "Shaders", directoryHint: .isDirectory)
        let output = context.pluginWorkDirectoryURL
        let compiler = try findCompiler(package: package)
        return [
            .buildCommand(
                displayName: "Compiling shaders",
                executable: try context.tool(named: "ShaderCompiler").url,
                arguments: [
                    "--compiler", compiler.path, "--shaders", shaders.path, "--output", output.path,
                ],
                // The compiler counts as an input, so that a newer one rebuilds every kernel; so do the folders,
                // so that an added or a removed file does.
                inputFiles: try contents(of: shaders) + [compiler],
                outputFiles: ["Kernels.generated.swift", "ShaderTexts.generated.swift"].map {
                    output.appending(path: $0)
                })
        ]
    }

    /// The folder itself and everything below it.
    private func contents(of folder: URL) throws -> [URL] {
        guard FileManager.default.fileExists(atPath: folder.path) else { return [] }
        let paths = try FileManager.default.subpathsOfDirectory(atPath: folder.path).sorted()
        return [folder] + paths.map { folder.appending(path: $0) }
    }

    /// `CALDERA_GLSLANG`, else what Tools/setup put under `.build/tools`, else glslang on the search path.
    private func findCompiler(package: URL) throws -> URL {
        let environment = ProcessInfo.processInfo.environment
        if let named = environment["CALDERA_GLSLANG"], !named.isEmpty {
            guard isExecutable(named) else {
                throw CompilerNotFound(reason: "CALDERA_GLSLANG names '\(named)', which is no program")
            }
            return URL(filePath: named)
        }
        let names = ["glslangValidator", "glslang"]
        let folders =
            [package.appending(path: ".build/tools/glslang/bin").path]
            + (environment["PATH"] ?? "/usr/bin").split(separator: ":").map(String.init)
        for folder in folders {
            for name in names where isExecutable("\(folder)/\(name)") {
                return URL(filePath: "\(folder)/\(name)")
            }
        }
        throw CompilerNotFound(reason: "no glslangValidator or glslang was found")
    }

    private func isExecutable(_ path: String) -> Bool { FileManager.default.isExecutableFile(atPath: path) }
}

struct CompilerNotFound: Error, CustomStringConvertible {
    let reason: String

    var description: String {
        "\(reason): run Tools/setup, install glslang-tools, or name a compiler in CALDERA_GLSLANG"
    }
}
