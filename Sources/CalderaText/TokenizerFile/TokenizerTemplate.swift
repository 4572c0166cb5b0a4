import CalderaGraph

/// What is added around the ids of a text; the reference calls it a post-processor. Only single texts are encoded here,
/// so templates for pairs are not read.
struct TokenizerTemplate: Sendable {
    private enum Item: Sendable {
        case text
        case tokens([Int32])
    }

    private var items: [Item] = [.text]

    /// A template that adds nothing.
    init() {}

    /// A template that puts ids around the text.
    init(before: Int32?, after: Int32?) {
        items = [.tokens(before.map { [$0] } ?? []), .text, .tokens(after.map { [$0] } ?? [])]
    }

    init(_ component: TokenizerComponent) throws {
        switch try component.type() {
        // Moves only the offsets, which are not kept here.
        case "ByteLevel": break
        case "TemplateProcessing": items = try Self.items(component)
        case "Sequence":
            for template in try component.components("processors").map(Self.init) {
                items = template.items.flatMap { item in
                    if case .text = item { items } else { [item] }
                }
            }
        default:
            throw try component.unknown("post-processor", ["Sequence", "ByteLevel", "TemplateProcessing"])
        }
    }

    func apply(_ ids: [Int32]) -> [Int32] {
        items.flatMap { item in
            switch item {
            case .text: ids
            case .tokens(let added): added
            }
        }
    }

    private static func items(_ component: TokenizerComponent) throws -> [Item] {
        let tokens = try component.component("special_tokens")
        return try component.components("single").map { piece in
            if piece.value("Sequence") != nil { return .text }
            guard let reference = try piece.component("SpecialToken") else {
                throw CalderaError("\(piece.place) is neither a \"Sequence\" nor a \"SpecialToken\".")
            }
            let name = try reference.string("id")
            guard let token = try tokens?.component(name) else {
                throw CalderaError("\(component.place): special_tokens lacks \(name), which the template names.")
            }
            return .tokens(
                try token.list("ids").map { value in
                    guard case .integer(let number) = value, let id = Int32(exactly: number), id >= 0 else {
                        throw CalderaError("\(token.place): \"ids\" should be a list of ids.")
                    }
                    return id
                })
        }
    }
}
