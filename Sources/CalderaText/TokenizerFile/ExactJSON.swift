import CalderaGraph

/// A JSON document whose strings stay as they are written, scalar for scalar, and whose objects keep their order.
///
/// A vocabulary needs this: to Swift's strings, and so to dictionaries of them, "\u{C5}" and "\u{212B}" are one key.
enum ExactJSON {
    case null
    case bool(Bool)
    case integer(Int)
    case number(Double)
    case string(String)
    case array([ExactJSON])
    case object([(key: String, value: ExactJSON)])

    /// Throws `CalderaError` naming `path` when the bytes are no JSON document or nest more than 256 deep.
    init(_ bytes: some Collection<UInt8>, path: String) throws {
        var parser = ExactJSONParser(Array(bytes))
        do {
            self = try parser.document()
        } catch {
            throw CalderaError("\(path) is not valid JSON (at byte \(parser.position)): download it again.")
        }
    }

    /// How an error message names the kind of value that was found.
    var kind: String {
        switch self {
        case .null: "null"
        case .bool: "a boolean"
        case .integer: "an integer"
        case .number: "a number"
        case .string: "a string"
        case .array: "a list"
        case .object: "an object"
        }
    }
}

/// A recursive descent parser of RFC 8259.
private struct ExactJSONParser {
    struct Malformed: Error {}

    private let bytes: [UInt8]
    private(set) var position = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    mutating func document() throws -> ExactJSON {
        if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { position = 3 }
        let value = try value(depth: 0)
        skipSpace()
        guard position == bytes.count else { throw Malformed() }
        return value
    }

    private mutating func value(depth: Int) throws -> ExactJSON {
        guard depth <= 256 else { throw Malformed() }
        skipSpace()
        switch peek {
        case UInt8(ascii: "{"): return .object(try members(depth))
        case UInt8(ascii: "["): return .array(try items(depth))
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try word("true", .bool(true))
        case UInt8(ascii: "f"): return try word("false", .bool(false))
        case UInt8(ascii: "n"): return try word("null", .null)
        default: return try number()
        }
    }

    private mutating func members(_ depth: Int) throws -> [(key: String, value: ExactJSON)] {
        var members: [(key: String, value: ExactJSON)] = []
        position += 1
        if take("}") { return members }
        repeat {
            skipSpace()
            let key = try string()
            guard take(":") else { throw Malformed() }
            members.append((key, try value(depth: depth + 1)))
        } while take(",")
        guard take("}") else { throw Malformed() }
        return members
    }

    private mutating func items(_ depth: Int) throws -> [ExactJSON] {
        var items: [ExactJSON] = []
        position += 1
        if take("]") { return items }
        repeat { items.append(try value(depth: depth + 1)) } while take(",")
        guard take("]") else { throw Malformed() }
        return items
    }

    private mutating func string() throws -> String {
        guard peek == UInt8(ascii: "\"") else { throw Malformed() }
        position += 1
        var text: [UInt8] = []
        while let byte = peek, byte != UInt8(ascii: "\"") {
            guard byte >= 0x20 else { throw Malformed() }
            position += 1
            if byte == UInt8(ascii: "\\") { try escape(into: &text) } else { text.append(byte) }
        }
        position += 1
        guard position <= bytes.count, let string = String(validating: text, as: UTF8.self) else { throw Malformed() }
        return string
    }

    private mutating func escape(into text: inout [UInt8]) throws {
        guard let letter = peek else { throw Malformed() }
        position += 1
        switch letter {
        case UInt8(ascii: "n"): text.append(0x0A)
        case UInt8(ascii: "t"): text.append(0x09)
        case UInt8(ascii: "r"): text.append(0x0D)
        case UInt8(ascii: "b"): text.append(0x08)
        case UInt8(ascii: "f"): text.append(0x0C)
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(letter)
        case UInt8(ascii: "u"): text.append(contentsOf: UTF8.encode(try escapedScalar()) ?? .init())
        default: throw Malformed()
        }
    }

    /// The scalar of `\uXXXX`, or of two of them that are a surrogate pair.
    private mutating func escapedScalar() throws -> Unicode.Scalar {
        let first = try hexadecimal()
        if let scalar = Unicode.Scalar(first) { return scalar }
        guard first < 0xDC00, take("\\", spaced: false), take("u", spaced: false) else { throw Malformed() }
        let second = try hexadecimal()
        let value = 0x10000 + (first - 0xD800) << 10 + (second &- 0xDC00)
        guard (0xDC00...0xDFFF).contains(second), let scalar = Unicode.Scalar(value) else { throw Malformed() }
        return scalar
    }

    private mutating func hexadecimal() throws -> UInt32 {
        guard position + 4 <= bytes.count else { throw Malformed() }
        let digits = bytes[position..<(position + 4)]
        position += 4
        guard digits.allSatisfy({ Character(Unicode.Scalar($0)).isHexDigit }),
            let value = UInt32(String(decoding: digits, as: UTF8.self), radix: 16)
        else { throw Malformed() }
        return value
    }

    private mutating func number() throws -> ExactJSON {
        let start = position
        while let byte = peek, Self.numberBytes.contains(byte) { position += 1 }
        let text = String(decoding: bytes[start..<position], as: UTF8.self)
        if let integer = Int(text) { return .integer(integer) }
        guard let double = Double(text), double.isFinite else { throw Malformed() }
        return .number(double)
    }

    private static let numberBytes = Set("+-.0123456789eE".utf8)

    private mutating func word(_ word: StaticString, _ value: ExactJSON) throws -> ExactJSON {
        let text = "\(word)".utf8
        guard bytes[position...].starts(with: text) else { throw Malformed() }
        position += text.count
        return value
    }

    private var peek: UInt8? { position < bytes.count ? bytes[position] : nil }

    private mutating func skipSpace() {
        while let byte = peek, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 { position += 1 }
    }

    private mutating func take(_ mark: Unicode.Scalar, spaced: Bool = true) -> Bool {
        if spaced { skipSpace() }
        guard peek == UInt8(ascii: mark) else { return false }
        position += 1
        return true
    }
}
