import CalderaGraph
import Foundation

/// What a safetensors header says about one tensor.
public struct SafetensorsTensor: Sendable, Hashable {
    /// The type as the format spells it: F32, F16, BF16, I32, I64, F8_E4M3, ...
    public let storedType: String
    public let shape: Shape
    /// Where the bytes are, relative to the start of the file's data.
    public let range: Range<Int>

    /// The element type, or nil when it is one that graphs do not know.
    public var dtype: DType? { SafetensorsTensor.dtypes[storedType] }

    static let dtypes: [String: DType] = ["F32": .float32, "F16": .float16, "BF16": .bfloat16, "I32": .int32]

    /// Bits of one element of every type that the format knows (safetensors 0.8).
    static let bits: [String: Int] = [
        "BOOL": 8, "U8": 8, "I8": 8, "U16": 16, "I16": 16, "F16": 16, "BF16": 16, "U32": 32, "I32": 32, "F32": 32,
        "U64": 64, "I64": 64, "F64": 64, "C64": 64, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F4": 4, "F6_E2M3": 6,
        "F6_E3M2": 6,
    ]
}

/// The header of a safetensors file: an unsigned 64-bit little-endian length, then that many bytes of JSON, then data.
///
/// As strict as the reference reader (safetensors 0.8): the tensors tile the data from its first byte to its last. In
/// one point stricter, as the format's own text asks: a name that occurs twice is refused.
struct SafetensorsHeader: Sendable {
    static let longest = 100_000_000

    let tensors: [String: SafetensorsTensor]
    let metadata: [String: String]
    /// Where the data begins in the file.
    let dataStart: Int

    /// Parses a whole file's bytes; nothing is allocated before the lengths are found to lie inside the file.
    init(_ file: UnsafeRawBufferPointer, path: String) throws {
        let json = try Self.json(file, path)
        dataStart = 8 + json.count
        let contents = try Self.decode(json, path)
        metadata = contents.metadata
        tensors = try contents.entries.reduce(into: [:]) { tensors, entry in
            tensors[entry.key] = try Self.tensor(entry.value, entry.key, path)
        }
        try Self.checkTiling(tensors, dataCount: file.count - dataStart, path)
    }

    private static func json(_ file: UnsafeRawBufferPointer, _ path: String) throws -> UnsafeRawBufferPointer {
        guard file.count >= 8 else {
            throw CalderaError("\(path) is cut short (\(file.count) bytes): download it again.")
        }
        let length = UInt64(littleEndian: file.loadUnaligned(as: UInt64.self))
        guard length <= longest else {
            throw CalderaError("\(path) is not a safetensors file: its header claims \(length) bytes.")
        }
        guard length <= UInt64(file.count - 8) else {
            throw CalderaError("\(path) is cut short inside its header: download it again.")
        }
        return UnsafeRawBufferPointer(rebasing: file[8..<(8 + Int(length))])
    }

    private static func decode(_ json: UnsafeRawBufferPointer, _ path: String) throws -> Contents {
        // A NUL or a foreign first byte would let the decoder guess another encoding than UTF-8.
        let first = json.first { $0 != UInt8(ascii: " ") }
        guard first == UInt8(ascii: "{"), !json.contains(0), String(validating: json, as: UTF8.self) != nil else {
            throw CalderaError("\(path) has a header that is not JSON: download it again.")
        }
        do {
            let contents = try JSONDecoder().decode(Contents.self, from: Data(json))
            guard contents.memberCount == countMembers(json) else {
                throw CalderaError("\(path) has a header that names a tensor twice: write the file again.")
            }
            return contents
        } catch let error as DecodingError {
            throw CalderaError("\(path) has a header that is not safetensors' (\(error.place)): download it again.")
        }
    }

    /// The members of the outermost object of a valid JSON text, repeated ones counted each time.
    private static func countMembers(_ json: UnsafeRawBufferPointer) -> Int {
        var depth = 0
        var members = 0
        var inString = false
        var escaped = false
        for byte in json {
            if inString {
                if escaped {
                    escaped = false
                } else if byte == UInt8(ascii: "\\") {
                    escaped = true
                } else if byte == UInt8(ascii: "\"") {
                    inString = false
                }
                continue
            }
            switch byte {
            case UInt8(ascii: "\""): inString = true
            case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
            case UInt8(ascii: "}"), UInt8(ascii: "]"): depth -= 1
            case UInt8(ascii: ":") where depth == 1: members += 1
            default: break
            }
        }
        return members
    }

    private static func tensor(_ entry: Entry, _ name: String, _ path: String) throws -> SafetensorsTensor {
        guard let bits = SafetensorsTensor.bits[entry.dtype] else {
            throw CalderaError("\(path): tensor \(name) has the unknown type \(entry.dtype).")
        }
        guard entry.shape.allSatisfy({ $0 >= 0 }), let count = Shape.checkedCount(entry.shape) else {
            throw CalderaError("\(path): tensor \(name) has the impossible shape \(entry.shape).")
        }
        guard entry.offsets.count == 2, entry.offsets[0] >= 0, entry.offsets[0] <= entry.offsets[1] else {
            throw CalderaError("\(path): tensor \(name) has impossible offsets \(entry.offsets): download it again.")
        }
        let range = entry.offsets[0]..<entry.offsets[1]
        let (size, overflow) = count.multipliedReportingOverflow(by: bits)
        guard !overflow, size % 8 == 0, size / 8 == range.count else {
            throw CalderaError(
                "\(path): tensor \(name) has \(range.count) bytes, which \(entry.dtype) \(entry.shape) does not fill: "
                    + "download it again.")
        }
        return SafetensorsTensor(storedType: entry.dtype, shape: Shape(entry.shape), range: range)
    }

    private static func checkTiling(
        _ tensors: [String: SafetensorsTensor], dataCount: Int, _ path: String
    ) throws {
        let ordered = tensors.sorted {
            ($0.value.range.lowerBound, $0.value.range.upperBound) < (
                $1.value.range.lowerBound, $1.value.range.upperBound
            )
        }
        var end = 0
        for (name, tensor) in ordered {
            guard tensor.range.lowerBound == end else {
                let fault = tensor.range.lowerBound > end ? "leaves a hole before it" : "overlaps the one before it"
                throw CalderaError("\(path): tensor \(name) \(fault): download the file again.")
            }
            end = tensor.range.upperBound
        }
        if dataCount < end {
            throw CalderaError("\(path) is cut short (\(end - dataCount) bytes are missing): download it again.")
        }
        if dataCount > end {
            throw CalderaError("\(path) has \(dataCount - end) bytes that belong to no tensor: download it again.")
        }
    }

    private struct Entry: Decodable {
        let dtype: String
        let shape: [Int]
        let offsets: [Int]

        private enum CodingKeys: String, CodingKey {
            case dtype, shape
            case offsets = "data_offsets"
        }
    }

    private struct Contents: Decodable {
        var metadata: [String: String] = [:]
        var entries: [String: Entry] = [:]
        var memberCount = 0

        init(from decoder: any Decoder) throws {
            let container = try decoder.container(keyedBy: AnyKey.self)
            memberCount = container.allKeys.count
            for key in container.allKeys {
                if key.stringValue == "__metadata__" {
                    metadata = try container.decodeIfPresent([String: String].self, forKey: key) ?? [:]
                } else {
                    entries[key.stringValue] = try container.decode(Entry.self, forKey: key)
                }
            }
        }
    }
}

/// Any member name of a JSON object.
struct AnyKey: CodingKey {
    let stringValue: String
    var intValue: Int? { nil }

    init(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
}

extension DecodingError {
    /// Where in the document the fault is: "unet.conv_in.weight.shape", or "no valid JSON".
    fileprivate var place: String {
        let context: Context
        switch self {
        case .typeMismatch(_, let found), .valueNotFound(_, let found), .dataCorrupted(let found): context = found
        case .keyNotFound(let key, let found):
            return (found.codingPath.map(\.stringValue) + [key.stringValue, "missing"]).joined(separator: " ")
        @unknown default: return "no valid JSON"
        }
        return context.codingPath.isEmpty
            ? "no valid JSON" : context.codingPath.map(\.stringValue).joined(separator: " ")
    }
}
