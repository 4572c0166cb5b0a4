import CalderaAdapters
import Foundation

/// The form of every JSON object that the program prints.
enum JSONText {
    /// One object with sorted snake_case keys.
    static func encode(_ value: some Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .convertToSnakeCase
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(value), as: UTF8.self)
    }
}

/// A value that is written as null where there is none; without this its key would be missing.
@propertyWrapper
struct OrNull<Value: Encodable>: Encodable {
    var wrappedValue: Value?

    init(wrappedValue: Value?) { self.wrappedValue = wrappedValue }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(wrappedValue)
    }
}

/// An adapter and its weights, in JSON.
struct AdapterReport: Encodable {
    let path: String
    let textWeight: Double
    let unetWeight: Double

    init(_ adapter: AdapterSpec) {
        path = adapter.name
        textWeight = adapter.textWeight
        unetWeight = adapter.unetWeight
    }
}
