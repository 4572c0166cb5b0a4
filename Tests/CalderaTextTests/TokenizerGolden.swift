import CalderaGraph
import CalderaTestSupport
import CalderaText
import Foundation

/// The committed tokenizers and what the reference gives for them.
enum TokenizerGolden {
    /// What the reference gives for one tokenizer. Checksums are 8 hexadecimal digits each.
    struct Results: Decodable {
        struct Mixed: Decodable {
            let ids: [Int32]
            let text: String
        }

        let vocabularySize: Int
        let ids: String
        let special: String?
        let shown: [[Int32]]
        let decoded: String
        /// Random ids; the first half with special tokens, the second without them.
        let mixed: [Mixed]

        enum CodingKeys: String, CodingKey {
            case ids, special, shown, decoded, mixed
            case vocabularySize = "vocabulary_size"
        }
    }

    static func url(_ name: String) -> URL { TestPaths.fixture("tokenizers/\(name)", of: "CalderaTextTests") }

    static func load<Value: Decodable>(_ name: String) throws -> Value {
        try JSONDecoder().decode(Value.self, from: try Data(contentsOf: url(name)))
    }

    /// An object with the members of another behind its own; of members with one name the last counts.
    static func replacing(_ object: String, _ members: String) -> Data {
        if members == "{}" { return Data(object.utf8) }
        let head = object.utf8.prefix(upTo: object.utf8.lastIndex(of: UInt8(ascii: "}")) ?? object.utf8.endIndex)
        return Data(Array(head) + Array(",".utf8) + Array(members.utf8.dropFirst()))
    }

    static func sum(_ ids: [Int32]) -> String {
        sum(ids.flatMap { id in withUnsafeBytes(of: id.littleEndian) { Array($0) } })
    }

    static func sum(_ text: String) -> String { sum(Array(text.utf8)) }

    /// FNV-1a.
    private static func sum(_ bytes: [UInt8]) -> String {
        let value = bytes.reduce(UInt32(0x811C_9DC5)) { ($0 ^ UInt32($1)) &* 0x0100_0193 }
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: 8 - digits.count) + digits
    }

    static func parts(_ sums: String) -> [String] {
        let digits = Array(sums.utf8)
        return stride(from: 0, to: digits.count, by: 8).map { String(decoding: digits[$0..<($0 + 8)], as: UTF8.self) }
    }
}
