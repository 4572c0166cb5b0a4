import Foundation

/// Where tests find what they need, and where they may write.
package enum TestPaths {
    /// The root of the repository.
    package static let repository = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    /// The model that ships with the program: a diffusers folder.
    package static let embeddedModel = repository.appendingPathComponent("Sources/Caldera/Resources/EmbeddedModel")

    /// A file of a test module's `Fixtures` folder.
    package static func fixture(_ name: String, of module: String) -> URL {
        repository.appendingPathComponent("Tests/\(module)/Fixtures/\(name)")
    }
}

/// A folder of its own for one test; it goes with its contents when the last reference does.
package final class TemporaryFolder: Sendable {
    package let url: URL

    package init() throws {
        url = FileManager.default.temporaryDirectory.appendingPathComponent("caldera-test-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(at: url) }

    /// The path of a name inside the folder.
    package func path(_ name: String) -> String { url.appendingPathComponent(name).path }

    /// Everything in the folder, hidden files too, sorted.
    package func contents() throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: url.path).sorted()
    }

    /// Writes a file, making the folders above it, and returns its path.
    @discardableResult
    package func write(_ name: String, _ data: Data) throws -> String {
        let file = url.appendingPathComponent(name)
        try FileManager.default.createDirectory(at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
        try data.write(to: file)
        return file.path
    }

    @discardableResult
    package func write(_ name: String, _ text: String) throws -> String { try write(name, Data(text.utf8)) }
}
