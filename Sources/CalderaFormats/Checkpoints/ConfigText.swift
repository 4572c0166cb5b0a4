import CalderaGraph
import Foundation

extension JSONConfig {
    /// The text of a file with these values: keys sorted, indented by two spaces.
    package func data() throws -> Data {
        Data((try ConfigText.object(values, indent: "") + "\n").utf8)
    }
}

/// JSON as transformers and diffusers write it.
private enum ConfigText {
    /// Numbers that transformers' `CLIPTextConfig` takes as floats only: it refuses 1 where 1.0 was written, a
    /// difference that `JSONValue` does not keep.
    private static let floats: Set<String> = [
        "attention_dropout", "dropout", "initializer_factor", "initializer_range", "layer_norm_eps",
    ]

    static func object(_ members: [String: JSONValue], indent: String) throws -> String {
        if members.isEmpty { return "{}" }
        let inner = indent + "  "
        let lines = try members.sorted { $0.key < $1.key }.map { key, value in
            let number = if case .int(let int) = value, floats.contains(key) { "\(int).0" } else { String?.none }
            return try "\(inner)\(string(key)): \(number ?? text(value, indent: inner))"
        }
        return "{\n\(lines.joined(separator: ",\n"))\n\(indent)}"
    }

    private static func text(_ value: JSONValue, indent: String) throws -> String {
        switch value {
        case .null: "null"
        case .bool(let bool): bool ? "true" : "false"
        case .int(let int): String(int)
        case .double(let double): String(double)
        case .string(let text): try string(text)
        case .array(let items): "[\(try items.map { try text($0, indent: indent) }.joined(separator: ", "))]"
        case .object(let members): try object(members, indent: indent)
        }
    }

    private static func string(_ text: String) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .withoutEscapingSlashes
        return String(decoding: try encoder.encode(text), as: UTF8.self)
    }
}
