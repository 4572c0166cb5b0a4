import CalderaFormats
import CalderaGraph
import CalderaTestSupport
import Foundation
import Testing

/// The files of Tools/goldens/pickles.py.
enum PickleFixtures {
    /// What a good file holds.
    struct Facts: Decodable {
        let integers: [String: Int]
        let wrappers: [String]
        /// Type and shape of each tensor.
        let tensors: [String: Tensor]
    }

    struct Tensor: Decodable, Equatable {
        let type: String
        let shape: [Int]

        init(type: String, shape: [Int]) {
            self.type = type
            self.shape = shape
        }

        init(from decoder: any Decoder) throws {
            var parts = try decoder.unkeyedContainer()
            type = try parts.decode(String.self)
            shape = try parts.decode([Int].self)
        }
    }

    /// A file that must be refused, and words of the error.
    struct Bad: Decodable, CustomTestStringConvertible {
        let name: String
        let words: String
        let file: Data
        var testDescription: String { name }
    }

    static func path(_ name: String) -> String { url(name).path }

    static func facts() throws -> [String: Facts] {
        try JSONDecoder().decode([String: Facts].self, from: Data(contentsOf: url("good.json")))
    }

    static func bad() throws -> [Bad] {
        try JSONDecoder().decode([Bad].self, from: Data(contentsOf: url("bad.json")))
    }

    private static func url(_ name: String) -> URL { TestPaths.fixture("Pickles/\(name)", of: "CalderaFormatsTests") }

    /// Opens a file that may be broken and touches every byte that it lends. Whatever happens must be a `CalderaError`.
    static func readAll(_ path: String) throws {
        let file = try PickleFile(path)
        for name in file.names {
            guard let info = file.info(name) else { continue }
            let count = try file.withBytes(name) { bytes in
                _ = bytes.reduce(0) { $0 &+ Int($1) }
                return bytes.count
            }
            #expect(count == info.shape.count * info.dtype.size)
        }
    }
}

/// A seeded stream of numbers (SplitMix64), so that a failure can be seen again.
struct SeededNumbers: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}

/// The pickle inside a file of torch.save, found by the directory's record of it, which tests may change.
struct PatchablePickle {
    private(set) var bytes: [UInt8]
    /// Where the pickle is.
    let range: Range<Int>
    private let record: Int

    init(_ path: String) throws {
        let bytes = Array(try Data(contentsOf: URL(fileURLWithPath: path)))
        func field(_ offset: Int, _ width: Int) -> Int {
            (0..<width).reversed().reduce(0) { $0 << 8 | Int(bytes[offset + $1]) }
        }
        // A record of the directory: 46 bytes, then its name.
        let record = bytes.indices.first { start in
            guard bytes[start...].starts(with: [0x50, 0x4B, 0x01, 0x02]), start + 46 < bytes.count else { return false }
            return bytes[(start + 46)...].prefix(field(start + 28, 2)).suffix(9).elementsEqual("/data.pkl".utf8)
        }
        self.bytes = bytes
        self.record = try #require(record)
        let start = field(self.record + 42, 4)
        let data = start + 30 + field(start + 26, 2) + field(start + 28, 2)
        range = data..<(data + field(self.record + 24, 4))
    }

    /// The file with another byte at `index` of the pickle. The checksum is made to fit, or nothing behind it would run.
    mutating func set(_ index: Int, _ byte: UInt8) {
        bytes[range.lowerBound + index] = byte
        let checksum = StoredArchive.checksum(bytes[range])
        for position in 0..<4 {
            bytes[record + 16 + position] = UInt8(truncatingIfNeeded: checksum >> (8 * position))
        }
    }
}

/// Puts together ZIP archives of stored entries.
enum StoredArchive {
    static func build(_ entries: KeyValuePairs<String, [UInt8]>) -> Data {
        var local: [UInt8] = []
        var directory: [UInt8] = []
        for (name, data) in entries {
            let count = UInt32(data.count)
            let fields =
                number(UInt64(0)) + number(UInt16(0)) + number(checksum(data[...])) + number(count) + number(count)
            let length = number(UInt16(name.utf8.count))
            directory += [0x50, 0x4B, 1, 2, 0, 0] + fields + length + [UInt8](repeating: 0, count: 12)
            directory += number(UInt32(local.count)) + Array(name.utf8)
            local += [0x50, 0x4B, 3, 4] + fields + length + number(UInt16(0)) + Array(name.utf8) + data
        }
        let count = number(UInt16(entries.count))
        let place = number(UInt32(directory.count)) + number(UInt32(local.count))
        return Data(local + directory + [0x50, 0x4B, 5, 6, 0, 0, 0, 0] + count + count + place + [0, 0])
    }

    /// CRC-32, bit by bit.
    static func checksum(_ bytes: ArraySlice<UInt8>) -> UInt32 {
        ~bytes.reduce(UInt32.max) { state, byte in
            (0..<8).reduce(state ^ UInt32(byte)) { value, _ in
                value & 1 == 1 ? (value >> 1) ^ 0xEDB8_8320 : value >> 1
            }
        }
    }

    private static func number<Number: FixedWidthInteger>(_ value: Number) -> [UInt8] {
        withUnsafeBytes(of: value.littleEndian, Array.init)
    }
}
