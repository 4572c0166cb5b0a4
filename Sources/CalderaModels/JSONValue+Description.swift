import CalderaGraph

extension JSONValue: CustomStringConvertible {
    /// The value as JSON would write it, for messages.
    package var description: String {
        switch self {
        case .null: "null"
        case .bool(let bool): "\(bool)"
        case .int(let int): "\(int)"
        case .double(let double): "\(double)"
        case .string(let string): "\"\(string)\""
        case .array(let items): "[" + items.map(\.description).joined(separator: ", ") + "]"
        case .object: "{...}"
        }
    }
}
