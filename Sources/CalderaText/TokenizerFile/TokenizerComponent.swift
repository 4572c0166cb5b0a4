import CalderaGraph

/// One object of a tokenizer file (a normalizer, a decoder, an added token) with typed access to its members.
///
/// A member that is absent and one that is null are the same; of members with one name the last counts. Errors name the
/// file, the object and the member.
struct TokenizerComponent {
    /// The file and the place in it, for messages: `tokenizer.json (pre_tokenizer)`.
    let place: String
    private let members: [(key: String, value: ExactJSON)]

    init(_ value: ExactJSON, place: String) throws {
        guard case .object(let members) = value else {
            throw CalderaError("\(place) should be an object but is \(value.kind): download the file again.")
        }
        self.members = members
        self.place = place
    }

    /// The `type` of a component.
    func type() throws -> String { try string("type") }

    func value(_ key: String) -> ExactJSON? {
        guard let member = members.last(where: { $0.key == key }) else { return nil }
        if case .null = member.value { return nil }
        return member.value
    }

    func component(_ key: String) throws -> TokenizerComponent? {
        try value(key).map { try TokenizerComponent($0, place: "\(place), \(key)") }
    }

    /// The objects of a list.
    func components(_ key: String) throws -> [TokenizerComponent] {
        try list(key).enumerated().map { try TokenizerComponent($1, place: "\(place), \(key)[\($0)]") }
    }

    func list(_ key: String) throws -> [ExactJSON] {
        guard let value = value(key) else { return [] }
        guard case .array(let items) = value else { throw unexpected(key, "a list", value) }
        return items
    }

    func entries(_ key: String) throws -> [(key: String, value: ExactJSON)] {
        guard let value = value(key) else { throw missing(key, "an object") }
        guard case .object(let members) = value else { throw unexpected(key, "an object", value) }
        return members
    }

    func bool(_ key: String, default fallback: Bool) throws -> Bool {
        guard let value = value(key) else { return fallback }
        guard case .bool(let bool) = value else { throw unexpected(key, "true or false", value) }
        return bool
    }

    func int(_ key: String, default fallback: Int? = nil) throws -> Int {
        guard let value = value(key) else {
            guard let fallback else { throw missing(key, "an integer") }
            return fallback
        }
        guard case .integer(let int) = value else { throw unexpected(key, "an integer", value) }
        return int
    }

    func id(_ key: String) throws -> Int32 {
        guard let id = Int32(exactly: try int(key)), id >= 0 else {
            throw CalderaError("\(place): \"\(key)\" is no id of a token: download the file again.")
        }
        return id
    }

    func string(_ key: String, default fallback: String? = nil) throws -> String {
        guard let value = value(key) else {
            guard let fallback else { throw missing(key, "a string") }
            return fallback
        }
        guard case .string(let string) = value else { throw unexpected(key, "a string", value) }
        return string
    }

    /// The text of a token in a `tokenizer_config.json`: a string, or an object with its `content`.
    func tokenName(_ key: String) throws -> String? {
        guard let value = value(key) else { return nil }
        if case .object = value { return try component(key)?.string("content") }
        return try string(key)
    }

    /// A string of one scalar.
    func scalar(_ key: String, default fallback: Unicode.Scalar? = nil) throws -> Unicode.Scalar {
        let scalars = try string(key, default: fallback.map { String($0) }).unicodeScalars
        guard scalars.count == 1, let scalar = scalars.first else {
            throw CalderaError("\(place): \"\(key)\" should be a single character.")
        }
        return scalar
    }

    /// An error for a kind of component that this reader does not know.
    func unknown(_ role: String, _ known: [String]) throws -> CalderaError {
        CalderaError(
            "\(place): the \(role) \"\(try type())\" is not supported; Caldera knows \(known.joined(separator: ", ")).")
    }

    private func missing(_ key: String, _ expected: String) -> CalderaError {
        CalderaError("\(place) has no value for \"\(key)\", which should be \(expected).")
    }

    private func unexpected(_ key: String, _ expected: String, _ value: ExactJSON) -> CalderaError {
        CalderaError("\(place): \"\(key)\" should be \(expected) but is \(value.kind).")
    }
}
