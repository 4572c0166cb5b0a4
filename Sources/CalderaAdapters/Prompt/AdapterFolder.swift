import CalderaFormats
import CalderaGraph
import Foundation

/// A folder of adapter files, in which prompts name them without path and extension.
package struct AdapterFolder: Sendable {
    package let path: String

    /// How the files may end.
    private static let extensions: Set = ["safetensors", "pt", "ckpt", "bin"]

    package init(_ path: String) { self.path = path }

    /// The file of that name, in the folder or one inside it: its own name without the extension, then the same in
    /// other letter cases, then the name that its trainer gave it (`ss_output_name`), unless several files have it.
    /// Throws a usage error when there is none, naming those that are alike, or when several fit.
    package func find(_ name: String) throws -> String {
        let files = try files()
        for isSame in [{ $0 == name }, { $0.lowercased() == name.lowercased() }] as [(String) -> Bool] {
            let found = files.filter { isSame($0.stem) }
            if let file = try single(found, name) { return file.path }
        }
        let aliased = files.filter { Self.alias($0.path) == name }
        if let file = try single(aliased, name) { return file.path }
        throw CalderaError.usage("\(path) has no LoRA \(name)\(Self.suggestion(name, files.map(\.stem))).")
    }

    private struct File {
        let path: String
        let stem: String
    }

    private func files() throws -> [File] {
        let url = URL(fileURLWithPath: path)
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder), isFolder.boolValue,
            let names = FileManager.default.enumerator(atPath: path)
        else {
            throw CalderaError.usage("There is no LoRA folder \(path).")
        }
        return names.compactMap { $0 as? String }.sorted().compactMap { name in
            let file = url.appending(path: name)
            guard Self.extensions.contains(file.pathExtension.lowercased()) else { return nil }
            return File(path: file.path, stem: file.deletingPathExtension().lastPathComponent)
        }
    }

    private func single(_ found: [File], _ name: String) throws -> File? {
        guard found.count > 1 else { return found.first }
        let paths = found.map(\.path).joined(separator: ", ")
        throw CalderaError.usage("The name \(name) fits several LoRAs: \(paths). Rename all but one.")
    }

    /// A broken file has no alias: it is an error only where it is asked for.
    private static func alias(_ path: String) -> String? {
        (try? SafetensorsFile(path))?.metadata["ss_output_name"]
    }

    private static func suggestion(_ name: String, _ stems: [String]) -> String {
        let near = stems.map { (stem: $0, distance: name.lowercased().editDistance(to: $0.lowercased())) }
            .filter { $0.distance <= max(2, name.count / 3) || $0.stem.lowercased().contains(name.lowercased()) }
            .sorted { ($0.distance, $0.stem) < ($1.distance, $1.stem) }
        if near.isEmpty { return "" }
        return "; near names are \(near.prefix(3).map(\.stem).joined(separator: ", "))"
    }
}
