import CalderaGraph
import Foundation

/// The small trained model that ships with Caldera, so that a first picture needs no download.
public enum EmbeddedModel {
    /// The folder's path. Looks beside the program, where SwiftPM and `install` put resources, then where it was built.
    /// Throws `CalderaError` when the resources did not come along.
    public static func path() throws -> String {
        let program = Bundle.main.bundleURL
        let candidates = [
            program.appendingPathComponent("caldera_Caldera.resources/EmbeddedModel"),
            program.appendingPathComponent("../share/caldera/EmbeddedModel"),
            testBundleFolder.appendingPathComponent("caldera_Caldera.resources/EmbeddedModel"),
        ]
        let index = "model_index.json"
        for folder in candidates
        where FileManager.default.fileExists(atPath: folder.appendingPathComponent(index).path) {
            return folder.standardizedFileURL.path
        }
        throw CalderaError(
            "The embedded model is not where the program is (\(candidates[0].path)): install Caldera again, or name a "
                + "model with --model.")
    }

    /// Under `swift test` the running program is the test runner; the resources lie beside the test binary.
    private static var testBundleFolder: URL {
        URL(fileURLWithPath: CommandLine.arguments.first ?? "").deletingLastPathComponent()
    }
}
