import CalderaGraph

/// How much is wanted: how many tags or sentences the model is asked for, and how many are kept.
/// Reference: tipo-kgen 0.3.1, `metainfo.py`.
package enum TargetLength: String, CaseIterable, Sendable {
    case veryShort = "very_short"
    case short
    case long
    case veryLong = "very_long"

    /// Throws a usage error that names the nearest length when there is none of that name.
    package init(named name: String) throws { self = try Self.named(name, "length") }

    /// With fewer tags the model is asked again.
    var leastTags: Int {
        switch self {
        case .veryShort: 6
        case .short: 18
        case .long: 36
        case .veryLong: 54
        }
    }

    var mostTags: Int {
        switch self {
        case .veryShort: 18
        case .short: 36
        case .long: 54
        case .veryLong: 72
        }
    }

    var leastSentences: Int {
        switch self {
        case .veryShort: 1
        case .short: 2
        case .long: 4
        case .veryLong: 8
        }
    }

    var mostSentences: Int {
        switch self {
        case .veryShort: 2
        case .short: 4
        case .long: 8
        case .veryLong: 10000
        }
    }
}

/// What the model makes of what: the sections of its text in their order.
package enum PromptTask: String, CaseIterable, Sendable {
    /// Tags from tags, without a token of its own.
    case tag = "None"
    case tagToLong = "tag_to_long"
    case longToTag = "long_to_tag"
    case shortToTag = "short_to_tag"
    case shortToLong = "short_to_long"
    case tagToShort = "tag_to_short"
    case tagToShortToLong = "tag_to_short_to_long"
    case shortToTagToLong = "short_to_tag_to_long"
    case shortToLongToTag = "short_to_long_to_tag"
    case tagToLongToShort = "tag_to_long_to_short"

    /// Throws a usage error that names the nearest task when there is none of that name. "tag" is `tag` as well.
    package init(named name: String) throws { self = name == "tag" ? .tag : try Self.named(name, "task") }

    /// `tag`, `short` and `long` in the order of the task's name.
    var sections: [String] {
        if self == .tag { return ["tag"] }
        var sections: [String] = []
        for word in rawValue.split(separator: "_") where word != "to" { sections.append(String(word)) }
        return sections
    }

    /// The section that the task ends with.
    var target: String { sections.last ?? "tag" }

    func contains(_ section: String) -> Bool { self != .tag && sections.contains(section) }
}

extension CaseIterable where Self: RawRepresentable, RawValue == String {
    fileprivate static func named(_ name: String, _ what: String) throws -> Self {
        if let found = Self(rawValue: name) { return found }
        let names = allCases.map(\.rawValue)
        throw CalderaError.usage(
            "There is no \(what) \"\(name)\"\(NearNames.suggestion(name, names)); there are "
                + names.joined(separator: ", ") + "."
        )
    }
}

/// What a misspelt name may have been meant to be.
enum NearNames {
    /// ": did you mean ...?", or nothing when no name is near.
    static func suggestion(_ name: String, _ names: [String]) -> String {
        let distances = names.map { ($0, name.lowercased().editDistance(to: $0.lowercased())) }
        guard let least = distances.map(\.1).min(), least <= max(2, name.count / 3) else { return "" }
        let near = distances.filter { $0.1 == least }.map { "\"\($0.0)\"" }
        return " (did you mean \(near.joined(separator: " or "))?)"
    }
}
