import Foundation

/// The golden files of this module.
enum Fixture {
    /// Why a golden file could not be read; only a broken check-out causes it.
    struct Broken: Error {
        let what: String
    }

    static func data(_ name: String) throws -> Data {
        guard let url = Bundle.module.url(forResource: "Fixtures/\(name)", withExtension: nil) else {
            throw Broken(what: "\(name) is missing")
        }
        return try Data(contentsOf: url)
    }

    /// Little-endian fp32 values in base64.
    static func floats(_ base64: String) throws -> [Float] {
        guard let bytes = Data(base64Encoded: base64), bytes.count % 4 == 0 else {
            throw Broken(what: "\(base64.prefix(20))... is not base64 of fp32 values")
        }
        return stride(from: 0, to: bytes.count, by: 4).map { offset in
            let word = (0..<4).reduce(UInt32(0)) { $0 | UInt32(bytes[offset + $1]) << (8 * UInt32($1)) }
            return Float(bitPattern: word)
        }
    }
}
