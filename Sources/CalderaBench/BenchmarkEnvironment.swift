import Caldera
import CalderaGraph
import Foundation

/// Where, when and with what a measurement was made: without it a number means nothing.
package struct BenchmarkEnvironment: Codable, Sendable, Equatable {
    package let device: String
    package let driver: String
    package let precision: String
    /// Caldera's version, and the commit that it was built from where its sources lie around the program.
    package let version: String
    package let commit: String?
    /// ISO 8601, UTC.
    package let date: String
    /// As it was typed.
    package let command: String
    /// Processors that this process may use.
    package let processors: Int

    package init(device: String, precision: Precision, command: [String]) {
        self.device = device
        driver = Devices.report().devices.first { $0.name == device }?.driver ?? ""
        self.precision = precision.rawValue
        version = CalderaVersion.current
        commit = SourceRevision.commit
        date = Date().ISO8601Format()
        self.command = command.map(BenchmarkEnvironment.quoted).joined(separator: " ")
        processors = ProcessInfo.processInfo.activeProcessorCount
    }

    private static func quoted(_ word: String) -> String {
        let isPlain = !word.isEmpty && word.allSatisfy { $0.isLetter || $0.isNumber || "-_./:=,+@".contains($0) }
        return isPlain ? word : "'" + word.replacingOccurrences(of: "'", with: "'\\''") + "'"
    }
}

/// The commit that is checked out around the program, read from git's own files.
enum SourceRevision {
    /// 40 hexadecimal digits; nil where the program does not lie in a checkout.
    static var commit: String? {
        var folder = Bundle.main.bundleURL.resolvingSymlinksInPath()
        while folder.path != "/" {
            let git = folder.appendingPathComponent(".git")
            if FileManager.default.fileExists(atPath: git.path) { return commit(git) }
            folder.deleteLastPathComponent()
        }
        return nil
    }

    private static func commit(_ git: URL) -> String? {
        // A worktree's .git is a file that names its folder.
        let link = text(git).flatMap { $0.hasPrefix("gitdir: ") ? String($0.dropFirst(8)) : nil }
        let folder = link.map { URL(fileURLWithPath: $0, relativeTo: git.deletingLastPathComponent()) } ?? git
        guard let head = text(folder.appendingPathComponent("HEAD")) else { return nil }
        guard head.hasPrefix("ref: ") else { return digits(head) }
        let reference = String(head.dropFirst(5))
        let common = text(folder.appendingPathComponent("commondir")).map {
            URL(fileURLWithPath: $0, relativeTo: folder)
        }
        let folders = [folder, common].compactMap { $0 }
        for folder in folders {
            if let found = text(folder.appendingPathComponent(reference)) { return digits(found) }
        }
        for folder in folders {
            let lines = text(folder.appendingPathComponent("packed-refs"))?.split(separator: "\n") ?? []
            if let line = lines.first(where: { $0.hasSuffix(" " + reference) }) { return digits(String(line)) }
        }
        return nil
    }

    private static func text(_ url: URL) -> String? {
        (try? String(contentsOf: url, encoding: .utf8))?.trimmingCharacters(in: .whitespacesAndNewlines)
    }

    private static func digits(_ text: String) -> String? {
        let digits = text.prefix(40)
        return digits.count == 40 && digits.allSatisfy(\.isHexDigit) ? String(digits) : nil
    }
}
