import CalderaGraph
import Foundation

/// Writes a folder so that it either appears whole under its name or not at all: its files go to a temporary folder
/// beside it, which is then renamed.
enum AtomicFolder {
    /// Calls `body` with the temporary folder, then gives it its name, which may be that of an empty folder.
    /// Throws `CalderaError` when something is there already or the place is not writable, and what `body` throws;
    /// nothing is left behind then.
    static func write(to path: String, _ body: (URL) throws -> Void) throws {
        try checkFree(path)
        let temporary = AtomicFile.beginPending(path)
        defer {
            try? FileManager.default.removeItem(atPath: temporary)
            AtomicFile.endPending(temporary)
        }
        guard mkdir(temporary, 0o777) == 0 else { throw AtomicFile.failure(path, errno) }
        do {
            try body(URL(fileURLWithPath: temporary))
        } catch let error as CalderaError {
            // A person knows the folder by the name that it was to have.
            let message = error.message.replacingOccurrences(of: temporary, with: path)
            throw CalderaError(message, kind: error.kind)
        }
        guard rename(temporary, URL(fileURLWithPath: path).path) == 0 else { throw occupied(path) }
    }

    /// Makes a folder inside the temporary one.
    static func makeFolder(_ folder: URL) throws {
        guard mkdir(folder.path, 0o777) == 0 || errno == EEXIST else { throw AtomicFile.failure(folder.path, errno) }
    }

    private static func checkFree(_ path: String) throws {
        guard FileManager.default.fileExists(atPath: path) else { return }
        guard let contents = try? FileManager.default.contentsOfDirectory(atPath: path), contents.isEmpty else {
            throw occupied(path)
        }
    }

    private static func occupied(_ path: String) -> CalderaError {
        CalderaError.usage("\(path) exists already: give another name, or remove it first.")
    }
}
