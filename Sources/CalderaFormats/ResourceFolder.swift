import CalderaGraph
import Foundation

/// Finds the folders of files that come with the program.
///
/// `Bundle.module` is no use here: it ends the process where the folder is missing, and it knows the build folder only.
package enum ResourceFolder {
    /// The path of a folder of resources. Looks beside the program, where SwiftPM puts them, then in `../share/caldera`,
    /// where `Tools/bundle` and installations do. Links to the program are followed.
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
        let places = candidates.prefix(2).map(\.standardizedFileURL.path).joined(separator: ", ")
        throw CalderaError(
            "Caldera's own files (\(name)) did not come along with the program (\(places)): install it again.")
    }

    /// Under `swift test` the running program is the test runner; the resources lie beside the test binary.
    private static var testBundleFolder: URL {
        URL(fileURLWithPath: CommandLine.arguments.first ?? "").deletingLastPathComponent()
    }
}
