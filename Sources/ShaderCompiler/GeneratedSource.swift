import Foundation

/// A compiled variant and the name that the host asks for it by.
struct Binary {
    let name: String
    let bytes: Data
}

/// A variant that the compiler is too old for, and what it lacks.
struct MissingBinary {
    let name: String
    let reason: String
}

/// A Swift file with the binaries as base64 text: array literals of this size take the compiler minutes, strings nothing.
func generatedSource(_ binaries: [Binary], missing: [MissingBinary]) -> String {
    let entries = binaries.map { "        \"\($0.name)\":\n            \"\($0.bytes.base64EncodedString())\"," }
    let table = dictionary(entries)
    var digest = Digest()
    for binary in binaries {
        digest.add(Data(binary.name.utf8))
        digest.add(binary.bytes)
    }
    let reasons = dictionary(missing.map { "        \"\($0.name)\": \"\($0.reason)\"," })
    return """
        // Written by ShaderCompiler from Shaders/; edits are lost.
        // swift-format-ignore-file
        import Foundation

        /// Every kernel variant as SPIR-V, by names such as `gemm.FP16`.
        package enum KernelBinaries {
            private static let all: [String: StaticString] = \(table)

            /// What the compiler of this build could not build, and why, by the names of the variants.
            package static let missing: [String: String] = \(reasons)

            /// Tells these kernels from those of every other build: a digest of all names and binaries.
            package static let version = "\(String(digest.value, radix: 16))"

            /// The names of all variants, sorted.
            package static var names: [String] { all.keys.sorted() }

            /// Whether there is a variant of that name.
            package static func contains(_ name: String) -> Bool { all[name] != nil }

            /// The SPIR-V words of a variant, or nil when there is none of that name.
            package static func words(_ name: String) -> [UInt32]? {
                guard let text = all[name] else { return nil }
                let base64 = text.withUTF8Buffer { Data($0) }
                guard let bytes = Data(base64Encoded: base64) else { return nil }
                return bytes.withUnsafeBytes { bytes in
                    (0..<bytes.count / 4).map { UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: $0 * 4, as: UInt32.self)) }
                }
            }
        }

        """
}

private func dictionary(_ entries: [String]) -> String {
    entries.isEmpty ? "[:]" : "[\n\(entries.joined(separator: "\n"))\n    ]"
}
