import CalderaGraph

/// The schedulers that exist, and how a name becomes one.
package enum SchedulerRegistry {
    package static let all: [any Scheduler.Type] = [
        EulerScheduler.self,
        EulerAncestralScheduler.self,
        DDIMScheduler.self,
    ]

    /// The names to offer to a person, one per scheduler.
    package static var listedNames: [String] { all.map { $0.shortNames.first ?? $0.className } }

    /// The scheduler that a person asked for by name, or the model's own where `name` is nil.
    ///
    /// Any scheduler can be made from any model's configuration: keys that both know are shared, the others take the
    /// defaults of the diffusers class. Throws a usage `CalderaError` on an unknown name, and a `CalderaError` when the
    /// model's own class is not among the available ones or its configuration is not supported.
    package static func make(name: String? = nil, config: SchedulerConfig) throws -> any Scheduler {
        let type = try name.map(requested) ?? own(of: config)
        return try type.init(config: config)
    }

    /// The scheduler of that class or short name, whatever its case, hyphens, underscores and spaces; nil if unknown.
    package static func find(_ name: String) -> (any Scheduler.Type)? {
        let wanted = folded(name)
        return all.first { $0.names.contains { folded($0) == wanted } }
    }

    private static func requested(_ name: String) throws -> any Scheduler.Type {
        if let type = find(name) { return type }
        let listed = listedNames.joined(separator: ", ")
        let hint = nearest(to: name).map { " Did you mean '\($0)'?" } ?? ""
        throw CalderaError.usage("There is no scheduler named '\(name)'.\(hint) Available: \(listed)")
    }

    private static func own(of config: SchedulerConfig) throws -> any Scheduler.Type {
        let listed = listedNames.joined(separator: ", ")
        guard let className = try config.className() else {
            throw CalderaError("\(config.path) names no _class_name; choose a scheduler with --scheduler: \(listed)")
        }
        if let type = all.first(where: { $0.className == className }) { return type }
        throw CalderaError(
            "\(config.path) asks for \(className), which is not available; "
                + "choose another scheduler with --scheduler: \(listed)")
    }

    /// The short name of the nearest name within two letters, or a third of the letters of a long one, if there is one.
    private static func nearest(to name: String) -> String? {
        let wanted = folded(name)
        let candidates = all.flatMap { type in
            type.names.map { (short: type.shortNames.first ?? type.className, folded: folded($0)) }
        }
        let distances = candidates.map { ($0.short, editDistance(wanted, $0.folded), $0.folded.count) }
        return distances.filter { $0.1 <= max(2, $0.2 / 3) }.min { $0.1 < $1.1 }?.0
    }

    private static func folded(_ name: String) -> String {
        name.lowercased().filter { !"-_ ".contains($0) }
    }

    /// The number of letters to insert, delete or replace between two names (Levenshtein).
    private static func editDistance(_ left: String, _ right: String) -> Int {
        let right = Array(right)
        var row = Array(0...right.count)
        for (index, letter) in left.enumerated() {
            var diagonal = row[0]
            row[0] = index + 1
            for column in right.indices {
                let replaced = diagonal + (letter == right[column] ? 0 : 1)
                diagonal = row[column + 1]
                row[column + 1] = min(replaced, diagonal + 1, row[column] + 1)
            }
        }
        return row[right.count]
    }
}
