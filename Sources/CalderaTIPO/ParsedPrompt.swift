/// The sections of a prompt in the order in which they were found: lists of tags, and texts.
package struct ParsedPrompt: Sendable {
    package enum Value: Sendable, Hashable {
        case tags([PythonText])
        case text(PythonText)

        var isEmpty: Bool {
            switch self {
            case .tags(let tags): tags.isEmpty
            case .text(let text): text.isEmpty
            }
        }

        /// As a template writes it.
        var joined: PythonText {
            switch self {
            case .tags(let tags): tags.joined(", ")
            case .text(let text): text
            }
        }
    }

    package private(set) var sections: [(key: PythonText, value: Value)] = []

    package init() {}

    /// A section; setting one that is there leaves its place, and setting nil removes it.
    package subscript(_ key: PythonText) -> Value? {
        get { sections.first { $0.key == key }?.value }
        set {
            let index = sections.firstIndex { $0.key == key }
            switch (index, newValue) {
            case (let index?, let value?): sections[index].value = value
            case (nil, let value?): sections.append((key, value))
            case (let index?, nil): sections.remove(at: index)
            case (nil, nil): break
            }
        }
    }

    /// The tags of a section, none if it is missing or a text.
    package func tags(_ key: PythonText) -> [PythonText] {
        if case .tags(let tags)? = self[key] { tags } else { [] }
    }

    /// The text of a section, empty if it is missing. What the model wrote as a list is taken as the text that it is.
    package func text(_ key: PythonText) -> PythonText { self[key]?.joined ?? PythonText() }

    /// Special tags and general ones.
    var mainTags: [PythonText] { tags("special") + tags("general") }

    mutating func removeSection(_ key: PythonText) -> Value? {
        defer { self[key] = nil }
        return self[key]
    }
}

extension ParsedPrompt {
    /// Reads what a model wrote: lines of `key: content`, where content may go on in lines without a key.
    ///
    /// Of a section that comes twice the first counts. `short` is kept as `extended` and `long` as `generated`, unless
    /// they are empty or `<|empty|>`; `tag` is cut at commas and its tags go to their categories; other sections are
    /// lists of tags.
    /// Reference: tipo-kgen, `parse_tipo_result`.
    package init(text: PythonText, lists: TagLists) {
        // As Python has it: these are sets of letters to strip, not words.
        let trimmed = text.stripped(of: "<s>").stripped(of: "</s>").stripped()
        for (key, content) in Self.lines(trimmed) {
            let name = Self.names[key] ?? key
            if self[name] != nil { continue }
            switch key {
            case "tag": addTags(content, lists)
            case "short", "long":
                if !content.isEmpty, content != "<|empty|>" { self[name] = .text(content) }
            default: self[name] = .tags(content.items(","))
            }
        }
    }

    private static let names: [PythonText: PythonText] = ["short": "extended", "long": "generated"]

    private mutating func addTags(_ content: PythonText, _ lists: TagLists) {
        let tags = content.items(",")
        for (category, routed) in lists.route(tags) {
            let key = PythonText(category.rawValue)
            switch self[key] {
            case .tags(let before)?: self[key] = .tags(before + routed)
            case .text(let before)?: self[key] = .tags([before] + routed)
            case nil: self[key] = .tags(routed)
            }
        }
        self["tag"] = .tags(tags)
    }

    /// The keys and contents, stripped. Lines before the first key belong to nothing.
    private static func lines(_ text: PythonText) -> [(key: PythonText, content: PythonText)] {
        var sections: [(key: PythonText, content: PythonText)] = []
        for line in text.split("\n") {
            if let colon = line.scalars.firstIndex(of: ":"), colon > 0 {
                sections.append((PythonText(line.scalars[..<colon]), PythonText(line.scalars[(colon + 1)...])))
            } else if !sections.isEmpty {
                sections[sections.count - 1].content += "\n" + line
            }
        }
        return sections.map { ($0.key.stripped(), $0.content.stripped()) }
    }
}

extension ParsedPrompt {
    /// Every section that holds something, as a template writes it.
    package var texts: [(name: String, content: String)] {
        sections.filter { !$0.value.isEmpty }.map { ($0.key.string, $0.value.joined.string) }
    }
}
