import CalderaGraph
import Foundation

/// Playground v2 has the network of SDXL and its class in diffusers, but wants less guidance; nothing but a name tells.
enum PlaygroundName {
    /// What the model's card recommends, for v2 and v2.5.
    static let guidanceScale = 3.0

    /// Whether the name of a file, a folder or a repository is Playground v2's or v2.5's.
    static func isMeant(by name: String) -> Bool {
        let name = name.lowercased()
        return ["playground-v2", "playground_v2", "playgroundv2"].contains(where: name.contains)
    }

    /// The names that a diffusers folder at `path` goes by: its own, or in the hub's cache, where a folder is called after
    /// its revision, the repository's; and what configs say that they were loaded from.
    static func names(ofFolder path: String, configs: [JSONConfig]) -> [String] {
        let folder = URL(fileURLWithPath: path).standardizedFileURL
        let above = folder.deletingLastPathComponent()
        let own =
            above.lastPathComponent == "snapshots"
            ? above.deletingLastPathComponent().lastPathComponent : folder.lastPathComponent
        return [own] + configs.compactMap { try? $0.string("_name_or_path") }
    }
}
