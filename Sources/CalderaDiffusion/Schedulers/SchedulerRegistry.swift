import CalderaGraph

/// A name for a scheduler with some of its options set.
package struct SchedulerVariant: Sendable {
    package let name: String
    /// Keys of scheduler_config.json that the name decides.
    let options: [String: SchedulerConfig.Value]
}

/// The schedulers that exist, and how a name becomes one.
///
/// A name is a diffusers class ("EulerDiscreteScheduler"), a label of the web UI ("DPM++ 2M SDE Karras") or a short name
/// ("dpmpp_2m_sde_karras"). Case, hyphens, underscores and spaces do not count, and "+" reads as "p". The last word may
/// choose a family of noise levels: karras, exponential or beta.
package enum SchedulerRegistry {
    package static let all: [any Scheduler.Type] = [
        EulerScheduler.self,
        EulerAncestralScheduler.self,
        HeunScheduler.self,
        LMSScheduler.self,
        KDPM2Scheduler.self,
        KDPM2AncestralScheduler.self,
        DDIMScheduler.self,
        DDPMScheduler.self,
        PNDMScheduler.self,
        DPMSolverMultistepScheduler.self,
        DPMSolverSinglestepScheduler.self,
        DPMSolverSDEScheduler.self,
        UniPCScheduler.self,
        LCMScheduler.self,
        TCDScheduler.self,
        EDMEulerScheduler.self,
        EDMDPMSolverMultistepScheduler.self,
    ]

    /// The names to offer to a person: one per scheduler, or one per variant of it.
    package static var listedNames: [String] {
        all.flatMap { $0.variants.isEmpty ? Array($0.shortNames.prefix(1)) : $0.variants.map(\.name) }
    }

    /// The scheduler that a person asked for by name, or the model's own where `name` is nil.
    ///
    /// Any scheduler can be made from any model's configuration: keys that both know are shared, the others take the
    /// defaults of the diffusers class, and those that the name decides are replaced. Throws a usage `CalderaError` on an
    /// unknown name, and a `CalderaError` when the model's own class is not among the available ones or its configuration
    /// is not supported.
    package static func make(name: String? = nil, config: SchedulerConfig) throws -> any Scheduler {
        guard let name else { return try own(of: config).init(config: config) }
        let entry = try requested(name)
        return try entry.type.init(config: config.overriding(entry.options))
    }

    /// The class that a name stands for; nil if it is unknown.
    package static func find(_ name: String) -> (any Scheduler.Type)? { entry(name)?.type }

    /// A name with what it stands for.
    private struct Entry {
        let name: String
        let type: any Scheduler.Type
        let options: [String: SchedulerConfig.Value]
    }

    private static let entries: [Entry] = all.flatMap { type -> [Entry] in
        let plain = (type.shortNames + [type.className]).map { Entry(name: $0, type: type, options: [:]) }
        let variants = type.variants.map { Entry(name: $0.name, type: type, options: $0.options) }
        return (variants + plain).flatMap { entry in
            [entry] + (type.takesSigmaFamilies ? SigmaFamily.allCases.map { withFamily($0, entry) } : [])
        }
    }

    /// The name with the family's at its end, which turns on that family and no other.
    private static func withFamily(_ family: SigmaFamily, _ entry: Entry) -> Entry {
        let flags = SigmaFamily.allCases.map { ($0.key, SchedulerConfig.Value.flag($0 == family)) }
        return Entry(
            name: entry.name + "_" + family.rawValue, type: entry.type,
            options: entry.options.merging(flags) { $1 })
    }

    private static func entry(_ name: String) -> Entry? {
        let wanted = folded(name)
        return entries.first { folded($0.name) == wanted }
    }

    private static func requested(_ name: String) throws -> Entry {
        if let entry = entry(name) { return entry }
        let near = nearest(to: name).map { "'\($0)'" }.joined(separator: ", ")
        let hint = near.isEmpty ? "" : " Did you mean \(near)?"
        throw CalderaError.usage(
            "There is no scheduler named '\(name)'.\(hint) Available: \(listedNames.joined(separator: ", "))")
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

    /// The nearest names within two letters, or a third of the letters of a long one; at most three, equally near.
    private static func nearest(to name: String) -> [String] {
        let wanted = folded(name)
        // The distance is at least the difference of the lengths, which spares most of the work for long input.
        let candidates = entries.map { (shown: $0.name, folded: folded($0.name)) }.filter { candidate in
            abs(candidate.folded.count - wanted.count) <= tolerance(candidate.folded)
        }
        let distances = candidates.map { ($0.shown, wanted.editDistance(to: $0.folded), tolerance($0.folded)) }
        let near = distances.filter { $0.1 <= $0.2 }
        let least = near.map(\.1).min()
        return near.filter { $0.1 == least }.prefix(3).map(\.0)
    }

    private static func tolerance(_ name: String) -> Int { max(2, name.count / 3) }

    private static func folded(_ name: String) -> String {
        name.lowercased().filter { !"-_ ".contains($0) }.replacing("+", with: "p")
    }
}
