import CalderaGraph

/// A value of a GGUF file's metadata. Numbers keep no more of their type than whether they are whole.
enum GGUFValue: Sendable, Equatable {
    case int(Int)
    case double(Double)
    case bool(Bool)
    case string(String)
    case array([GGUFValue])

    /// Arrays inside arrays are allowed to this depth.
    private static let deepest = 4

    init(from cursor: inout GGUFCursor, depth: Int = 0) throws {
        let type: UInt32 = try cursor.integer()
        try self.init(from: &cursor, type: type, depth: depth)
    }

    private init(from cursor: inout GGUFCursor, type: UInt32, depth: Int) throws {
        switch type {
        case 0: self = .int(Int(try cursor.integer(UInt8.self)))
        case 1: self = .int(Int(try cursor.integer(Int8.self)))
        case 2: self = .int(Int(try cursor.integer(UInt16.self)))
        case 3: self = .int(Int(try cursor.integer(Int16.self)))
        case 4: self = .int(Int(try cursor.integer(UInt32.self)))
        case 5: self = .int(Int(try cursor.integer(Int32.self)))
        case 6: self = .double(Double(Float(bitPattern: try cursor.integer())))
        case 7: self = .bool(try cursor.integer(UInt8.self) != 0)
        case 8: self = .string(try cursor.string())
        case 9: self = try GGUFValue.array(from: &cursor, depth: depth)
        case 10:
            let number = try cursor.integer(UInt64.self)
            self = Int(exactly: number).map { .int($0) } ?? .double(Double(number))
        case 11: self = .int(Int(try cursor.integer(Int64.self)))
        case 12: self = .double(Double(bitPattern: try cursor.integer()))
        default: throw CalderaError("\(cursor.path): the metadata has a value of the unknown type \(type).")
        }
    }

    private static func array(from cursor: inout GGUFCursor, depth: Int) throws -> GGUFValue {
        guard depth < deepest else {
            throw CalderaError("\(cursor.path): the metadata has arrays nested more than \(deepest) deep.")
        }
        let type: UInt32 = try cursor.integer()
        let count = try cursor.count(of: type == 8 ? 8 : 1)
        var values: [GGUFValue] = []
        for _ in 0..<count { values.append(try GGUFValue(from: &cursor, type: type, depth: depth + 1)) }
        return .array(values)
    }

    /// As the value of a config file.
    var json: JSONValue {
        switch self {
        case .int(let int): .int(int)
        case .double(let double): .double(double)
        case .bool(let bool): .bool(bool)
        case .string(let string): .string(string)
        case .array(let values): .array(values.map(\.json))
        }
    }
}
