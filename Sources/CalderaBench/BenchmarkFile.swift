import CalderaFormats
import CalderaGraph
import Foundation

/// Reports as files: one JSON object with sorted snake_case keys.
package enum BenchmarkFile {
    package static func encode(_ report: some Encodable) throws -> Data {
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .convertToSnakeCase
        // The error of a broken kernel.
        encoder.nonConformingFloatEncodingStrategy = .convertToString(
            positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        return try encoder.encode(report) + Data("\n".utf8)
    }

    package static func decode<Report: Decodable>(_ type: Report.Type, from data: Data) throws -> Report {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        decoder.nonConformingFloatDecodingStrategy = .convertFromString(
            positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
        return try decoder.decode(type, from: data)
    }

    /// Throws `CalderaError` when the file cannot be written.
    package static func write(_ report: some Encodable, to path: String) throws {
        try write(encode(report), to: path)
    }

    /// Replaces the file at once. Throws `CalderaError` when it cannot be written.
    package static func write(_ data: Data, to path: String) throws {
        try data.withUnsafeBytes { try AtomicFile.write($0, to: path) }
    }

    /// Throws `CalderaError` when there is no such file or it is no report of this kind.
    package static func read<Report: Decodable>(_ type: Report.Type, from path: String) throws -> Report {
        let data: Data
        do {
            data = try Data(contentsOf: URL(fileURLWithPath: path))
        } catch {
            throw CalderaError("\(path) could not be read: \(error.localizedDescription)")
        }
        do {
            return try decode(type, from: data)
        } catch {
            throw CalderaError("\(path) is no report of this command: write one with --json first.")
        }
    }

    /// Throws a usage error where no file could be written later, before hours are spent on what to write.
    package static func check(_ path: String) throws {
        var isFolder: ObjCBool = false
        let exists = FileManager.default.fileExists(atPath: path, isDirectory: &isFolder)
        if exists, isFolder.boolValue {
            throw CalderaError.usage("\(path) is a folder: name a file in it.")
        }
        let folder = URL(fileURLWithPath: path).deletingLastPathComponent().path
        guard FileManager.default.fileExists(atPath: folder, isDirectory: &isFolder), isFolder.boolValue else {
            throw CalderaError.usage("There is no folder \(folder) for \(path): make it first.")
        }
    }
}
