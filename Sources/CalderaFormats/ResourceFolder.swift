import CalderaGraph
import Foundation

/// Finds the folders of files that come with the program.
///
/// `Bundle.module` is no use here: it ends the process where the folder is missing, and it knows the build folder only.
package enum ResourceFolder {
    /// The path of a folder of resources. Looks beside the program, where SwiftPM and `install` put them, then where
    /// it was built.
    /// - Parameters:
    ///   - module: the module whose resource it is.
    ///   - file: a file that the folder must hold.
    /// Throws `CalderaError` when the resources did not come along.
    package static func path(_ name: String, module: String, holding file: String) throws -> String {
        let program = Bundle.main.bundleURL
        let bundle = "caldera_\(module).resources/\(name)"
        let candidates = [
            program.appendingPathComponent(bundle), program.appendingPathComponent("../share/caldera/\(name)"),
            testBundleFolder.appendingPathComponent(bundle),
        ]
        for folder in candidates
        where FileManager.default.fileExists(atPath: folder.appendingPathComponent(file).path) {
            return folder.standardizedFileURL.path
        }
        throw CalderaError(
            "Caldera's own files are not where the program is (\(candidates[0].path)): install Caldera again.")
    }

    /// Under `swift test` the running program is the test runner; the resources lie beside the test binary.
    private static var testBundleFolder: URL {
        URL(fileURLWithPath: CommandLine.arguments.first ?? "").deletingLastPathComponent()
    }
}
