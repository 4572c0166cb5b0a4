import Foundation

/// A value of a JSON document. Numbers that fit an `Int` exactly are `.int`.
package enum JSONValue: Sendable, Hashable, Decodable {
    case null
    case bool(Bool)
    case int(Int)
    case double(Double)
    case string(String)
    case array([JSONValue])
    case object([String: JSONValue])

    package init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if container.decodeNil() {
            self = .null
        } else if let bool = try? container.decode(Bool.self) {
            self = .bool(bool)
        } else if let int = try? container.decode(Int.self) {
            self = .int(int)
        } else if let double = try? container.decode(Double.self) {
            self = .double(double)
        } else if let string = try? container.decode(String.self) {
            self = .string(string)
        } else if let array = try? container.decode([JSONValue].self) {
            self = .array(array)
        } else {
            self = .object(try container.decode([String: JSONValue].self))
        }
    }

    /// How an error message names the kind of value that was found.
    fileprivate var kind: String {
        switch self {
        case .null: "null"
        case .bool: "a boolean"
        case .int: "an integer"
        case .double: "a number"
        case .string: "a string"
        case .array: "a list"
        case .object: "an object"
        }
    }
}

/// A model's config file with typed access: each getter throws a `CalderaError` that names the file and the key.
///
/// A key that is absent and a key whose value is `null` are the same, as in the Python classes that write these files:
/// the default is taken where the getter has one, and without a default it is an error.
package struct JSONConfig: Sendable {
    /// Where the values came from, for messages.
    package let path: String
    package let values: [String: JSONValue]

    package init(_ values: [String: JSONValue], path: String) {
        self.values = values
        self.path = path
    }

    /// Parses a JSON object. Throws when the text is not JSON, is nested more than 512 deep, or is not an object.
    package init(_ data: Data, path: String) throws {
        do {
            values = try JSONDecoder().decode([String: JSONValue].self, from: data)
        } catch DecodingError.typeMismatch(_, let context) where context.codingPath.isEmpty {
            throw CalderaError("\(path) is not a JSON object; it should hold settings as {\"key\": value}.")
        } catch {
            throw CalderaError("\(path) is not valid JSON: download it again.")
        }
        self.path = path
    }

    /// Reads a file of at most 64 MiB. Throws when it is missing, unreadable or no JSON object.
    package init(contentsOf path: String) throws {
        let data = try ConfigFile.read(path)
        try self.init(data, path: path)
    }

    /// The keys that have a value other than null, sorted.
    package var keys: [String] { values.filter { $0.value != .null }.keys.sorted() }

    package func has(_ key: String) -> Bool { value(key) != nil }

    /// The value of a key, or nil when it is absent or null.
    package func value(_ key: String) -> JSONValue? {
        guard let value = values[key], value != .null else { return nil }
        return value
    }

    package func bool(_ key: String, default fallback: Bool? = nil) throws -> Bool {
        try get(key, fallback, "true or false", Self.asBool)
    }

    package func int(_ key: String, default fallback: Int? = nil) throws -> Int {
        try get(key, fallback, "an integer", Self.asInt)
    }

    /// A number; an integer in the file is taken as one.
    package func double(_ key: String, default fallback: Double? = nil) throws -> Double {
        try get(key, fallback, "a number", Self.asDouble)
    }

    package func string(_ key: String, default fallback: String? = nil) throws -> String {
        try get(key, fallback, "a string", Self.asString)
    }

    package func ints(_ key: String, default fallback: [Int]? = nil) throws -> [Int] {
        try get(key, fallback, "a list of integers") { Self.list($0, Self.asInt) }
    }

    package func doubles(_ key: String, default fallback: [Double]? = nil) throws -> [Double] {
        try get(key, fallback, "a list of numbers") { Self.list($0, Self.asDouble) }
    }

    package func strings(_ key: String, default fallback: [String]? = nil) throws -> [String] {
        try get(key, fallback, "a list of strings") { Self.list($0, Self.asString) }
    }

    /// An object inside this one; its messages name the key after the path.
    package func object(_ key: String) throws -> JSONConfig {
        let members = try get(key, nil, "an object") { value -> [String: JSONValue]? in
            guard case .object(let members) = value else { return nil }
            return members
        }
        return JSONConfig(members, path: "\(path) (\(key))")
    }

    private func get<Value>(
        _ key: String, _ fallback: Value?, _ expected: String, _ convert: (JSONValue) -> Value?
    ) throws -> Value {
        guard let found = value(key) else {
            if let fallback { return fallback }
            throw CalderaError("\(path) has no value for \"\(key)\", which should be \(expected).")
        }
        guard let converted = convert(found) else {
            throw CalderaError("\(path): \"\(key)\" should be \(expected) but is \(found.kind).")
        }
        return converted
    }

    private static func asBool(_ value: JSONValue) -> Bool? {
        guard case .bool(let bool) = value else { return nil }
        return bool
    }

    private static func asInt(_ value: JSONValue) -> Int? {
        guard case .int(let int) = value else { return nil }
        return int
    }

    private static func asDouble(_ value: JSONValue) -> Double? {
        switch value {
        case .double(let double): double
        case .int(let int): Double(int)
        default: nil
        }
    }

    private static func asString(_ value: JSONValue) -> String? {
        guard case .string(let string) = value else { return nil }
        return string
    }

    private static func list<Element>(_ value: JSONValue, _ convert: (JSONValue) -> Element?) -> [Element]? {
        guard case .array(let items) = value else { return nil }
        let converted = items.compactMap(convert)
        return converted.count == items.count ? converted : nil
    }
}

/// Reads the small text files that stand beside a model's weights.
package enum ConfigFile {
    private static let largest = 64 << 20

    /// The bytes of a file. Throws when it is missing, a folder, larger than 64 MiB, or unreadable.
    package static func read(_ path: String) throws -> Data {
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else {
            throw CalderaError("There is no file \(path).")
        }
        if isFolder.boolValue { throw CalderaError("\(path) is a folder, not a file.") }
        let attributes = try? FileManager.default.attributesOfItem(atPath: path)
        let size = (attributes?[.size] as? NSNumber)?.intValue ?? 0
        guard size <= largest else {
            throw CalderaError("\(path) has \(size) bytes, too many for a config file.")
        }
        do {
            return try Data(contentsOf: URL(fileURLWithPath: path))
        } catch {
            throw CalderaError("\(path) cannot be read: check its permissions.")
        }
    }
}
