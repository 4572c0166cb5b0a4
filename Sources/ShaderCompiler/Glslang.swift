import Foundation

/// Runs glslang on one variant at a time and keeps its binaries, so that only edited shaders are compiled again.
struct Glslang: Sendable {
    let program: String
    /// The folder that `#include` searches beside the shader's own.
    let includes: String
    /// Where the `.spv` files go.
    let binaries: String
    /// What else a binary depends on: the digest of the includes.
    let salt: UInt64

    /// The SPIR-V of a variant, from the last build where nothing that it depends on has changed.
    func compile(_ variant: Variant) throws -> Data {
        let binary = URL(filePath: "\(binaries)/\(variant.name).spv")
        let keyFile = URL(filePath: "\(binaries)/\(variant.name).key")
        let arguments = arguments(for: variant, output: binary.path)
        let key = Data(try self.key(of: variant, arguments: arguments).utf8)
        if let old = try? Data(contentsOf: keyFile), old == key, let bytes = try? Data(contentsOf: binary) {
            return bytes
        }
        try FileManager.default.createDirectory(atPath: binaries, withIntermediateDirectories: true)
        try? FileManager.default.removeItem(at: keyFile)
        try compile(arguments, variant)
        let bytes = try Data(contentsOf: binary)
        guard bytes.count >= 20, bytes.count.isMultiple(of: 4), bytes.prefix(4).elementsEqual([3, 2, 0x23, 7]) else {
            throw Failure("\(variant.path): error: \(program) wrote no SPIR-V for \(variant.name)")
        }
        try key.write(to: keyFile)
        return bytes
    }

    /// Removes what earlier builds left for variants that are gone.
    func removeBinaries(except names: Set<String>) throws {
        guard FileManager.default.fileExists(atPath: binaries) else { return }
        for file in try FileManager.default.contentsOfDirectory(atPath: binaries) {
            let url = URL(filePath: "\(binaries)/\(file)")
            if !names.contains(url.deletingPathExtension().lastPathComponent) {
                try FileManager.default.removeItem(at: url)
            }
        }
    }

    private func arguments(for variant: Variant, output: String) -> [String] {
        ["--target-env", "vulkan1.3", "-g0", "-S", "comp", "-I\(includes)"]
            + variant.macros.map { "-D\($0)=1" } + ["-o", output, variant.path]
    }

    private func key(of variant: Variant, arguments: [String]) throws -> String {
        var digest = Digest()
        digest.add(Data(arguments.joined(separator: "\n").utf8))
        digest.add(try Data(contentsOf: URL(filePath: variant.path)))
        let attributes = try FileManager.default.attributesOfItem(
            atPath: URL(filePath: program).resolvingSymlinksInPath().path)
        let date = (attributes[.modificationDate] as? Date)?.timeIntervalSince1970 ?? 0
        return "\(digest.value) \(salt) \(program) \(date)"
    }

    /// As the compiler gives it, such as "11:13.1.1".
    var version: String {
        let words = (try? run(["--version"]))?.output.split(whereSeparator: \.isWhitespace) ?? []
        return words.dropFirst(2).first.map(String.init) ?? "of unknown version"
    }

    private func run(_ arguments: [String]) throws -> (succeeded: Bool, output: String) {
        let process = Process()
        process.executableURL = URL(filePath: program)
        process.arguments = arguments
        process.standardInput = FileHandle.nullDevice
        let pipe = Pipe()
        process.standardOutput = pipe
        process.standardError = pipe
        try process.run()
        let output = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        return (process.terminationReason == .exit && process.terminationStatus == 0, output)
    }

    private func compile(_ arguments: [String], _ variant: Variant) throws {
        let (succeeded, output) = try run(arguments)
        guard succeeded else {
            let unknown = variant.optionalExtensions.first { output.contains("extension not supported: \($0)\n") }
            if let unknown { throw UnknownExtension(name: unknown) }
            throw Failure(diagnostics(output, variant))
        }
    }

    /// glslang's `ERROR: file:line: text` as `file:line: error: text`, the form that editors and build logs know.
    private func diagnostics(_ output: String, _ variant: Variant) -> String {
        let errors = output.split(separator: "\n").compactMap { line -> String? in
            guard line.hasPrefix("ERROR: "), !line.hasSuffix("compilation terminated ") else { return nil }
            let text = line.dropFirst("ERROR: ".count)
            guard let place = text.firstMatch(of: #/^(.+?:\d+): /#) else { return nil }
            return "\(place.1): error: \(text[place.range.upperBound...]) (variant \(variant.name))"
        }
        return errors.isEmpty
            ? "\(variant.path): error: \(program) failed on \(variant.name):\n\(output)"
            : errors.joined(separator: "\n")
    }
}

/// The compiler is too old for a variant that may be left out.
struct UnknownExtension: Error {
    let name: String
}
