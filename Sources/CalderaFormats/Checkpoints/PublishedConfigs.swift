import CalderaGraph
import Foundation

/// The configs of the published models of an architecture, which come with Caldera.
struct PublishedConfigs: Sendable {
    private let resources: URL
    private let architecture: CheckpointArchitecture

    /// Throws `CalderaError` when Caldera's resources are not there.
    init(_ architecture: CheckpointArchitecture) throws {
        let path = try ResourceFolder.path("Checkpoints", module: "CalderaFormats", holding: "sdxl/unet.json")
        resources = URL(fileURLWithPath: path)
        self.architecture = architecture
    }

    func config(_ component: String) throws -> JSONConfig {
        let file = "\(component).json"
        guard let path = find(file) else {
            throw CalderaError("\(resources.path) lacks \(file) for \(architecture.title): install again.")
        }
        return try JSONConfig(contentsOf: path)
    }

    /// Caldera's own settings for models of this architecture.
    func settings() throws -> JSONConfig {
        guard let path = find("caldera.json") else { return JSONConfig([:], path: "caldera.json") }
        return try JSONConfig(contentsOf: path)
    }

    private func find(_ file: String) -> String? {
        architecture.configFolders
            .map { resources.appendingPathComponent($0).appendingPathComponent(file).path }
            .first(where: FileManager.default.fileExists(atPath:))
    }
}
