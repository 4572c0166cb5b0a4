/// Two names for each of a network's modules: in its original code and in diffusers or transformers.
struct KeyTable: Sendable {
    typealias Pair = (original: String, diffusers: String)

    /// Names come from files; a level or layer of a higher number is not part of a network.
    static let mostLevels = 64

    private let diffusers: [String: String]
    private let original: [String: String]

    init(_ modules: [Pair]) {
        diffusers = Dictionary(modules.map { ($0.original, $0.diffusers) }) { first, _ in first }
        original = Dictionary(modules.map { ($0.diffusers, $0.original) }) { first, _ in first }
    }

    /// The other name of a tensor or module that the table has, or that is inside a module of the table.
    func diffusersName(_ originalName: String) -> String? { Self.translate(originalName, diffusers) }

    /// See `diffusersName`.
    func originalName(_ diffusersName: String) -> String? { Self.translate(diffusersName, original) }

    /// Replaces the longest run of leading components that is a module of the table.
    private static func translate(_ name: String, _ table: [String: String]) -> String? {
        var module = name[...]
        while true {
            if let translated = table[String(module)] { return translated + name[module.endIndex...] }
            guard let dot = module.lastIndex(of: ".") else { return nil }
            module = module[..<dot]
        }
    }
}

/// The components of a dotted name.
struct DottedName {
    private let parts: [Substring]

    init(_ name: String) { parts = name.split(separator: ".", omittingEmptySubsequences: false) }

    /// A component, empty behind the last one.
    subscript(index: Int) -> Substring { index < parts.count ? parts[index] : "" }

    /// A component that is an index, if it is one of a network.
    func number(_ index: Int) -> Int? {
        guard let number = Int(self[index]), (0..<KeyTable.mostLevels).contains(number) else { return nil }
        return number
    }
}
