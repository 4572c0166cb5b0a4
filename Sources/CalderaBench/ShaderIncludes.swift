import CalderaGPU
import CalderaGraph
import Foundation

/// What the `#include`s of a shader stand for: files beside whatever includes them or beside the shader, then Caldera's
/// own of `Shaders/include`, which the program carries.
final class ShaderIncludes {
    private let folder: URL
    private var builtIn: Set<String> = []
    /// The files that were read, as they were just before.
    private(set) var files: [String: FileStamp?] = [:]

    /// - Parameter folder: the shader's.
    init(folder: URL) { self.folder = folder }

    /// The name for messages, and the text; nil where there is no such file.
    func find(_ requested: String, from requesting: String) -> (name: String, text: String)? {
        var folders = [folder]
        if !builtIn.contains(requesting) {
            folders.insert(URL(fileURLWithPath: requesting).deletingLastPathComponent(), at: 0)
        }
        for folder in folders {
            let path = URL(fileURLWithPath: requested, relativeTo: folder).path
            let stamp = FileStamp(path)
            if let text = try? String(contentsOfFile: path, encoding: .utf8) {
                files[path] = stamp
                return (path, text)
            }
        }
        guard let text = ShaderTexts.includes[requested] else { return nil }
        let name = "Shaders/include/" + requested
        builtIn.insert(name)
        return (name, text)
    }
}

/// Tells a saved file from the one before.
struct FileStamp: Equatable {
    private let inode: Int
    private let size: Int
    private let modified: Date

    /// Nil where there is no such file.
    init?(_ path: String) {
        guard let attributes = try? FileManager.default.attributesOfItem(atPath: path) else { return nil }
        inode = attributes[.systemFileNumber] as? Int ?? 0
        size = attributes[.size] as? Int ?? 0
        modified = attributes[.modificationDate] as? Date ?? .distantPast
    }
}

extension ShaderTexts {
    /// A built-in kernel in one piece, with what it includes in the places of the lines that include it.
    package static func whole(_ kernel: String) -> String? { kernels[kernel].map(expanded) }

    private static func expanded(_ text: String) -> String {
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false).map { line in
            guard let match = line.wholeMatch(of: #/#include "(.+)"/#), let include = includes[String(match.1)] else {
                return String(line)
            }
            return expanded(include).trimmingCharacters(in: .newlines)
        }
        return lines.joined(separator: "\n")
    }
}
