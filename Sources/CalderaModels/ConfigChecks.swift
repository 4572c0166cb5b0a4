import CalderaGraph

extension JSONConfig {
    /// Settings that change the computation and of which Caldera knows one value only.
    typealias Fixed = [String: [JSONValue]]

    /// Throws for a setting whose value is none of the known ones, and for keys that nobody knows: either would mean
    /// another computation than the one that is built. Keys that begin with an underscore describe the file itself.
    func check(read: Set<String>, fixed: Fixed, ignored: Set<String>) throws {
        for key in keys where !key.hasPrefix("_") {
            guard let value = value(key) else { continue }
            if let known = fixed[key] {
                if known.contains(value) { continue }
                throw CalderaError(
                    "\(path): \(key) is \(value), which Caldera does not compute; it knows "
                        + (known.isEmpty ? ["null"] : known.map(\.description)).joined(separator: " or ") + " only.")
            }
            if read.contains(key) || ignored.contains(key) { continue }
            throw CalderaError("\(path): the setting \(key) = \(value) is unknown, so the model cannot be run exactly.")
        }
    }

    /// One integer for each of `count` levels: a list of that many, or one number for all.
    func perLevel(_ key: String, count: Int, default fallback: Int? = nil) throws -> [Int] {
        guard case .array = value(key) else {
            return Array(repeating: try positive(key, default: fallback), count: count)
        }
        let list = try ints(key)
        guard list.count == count, list.allSatisfy({ (1...Self.largest).contains($0) }) else {
            throw CalderaError("\(path): \(key) is \(list); \(count) positive integers are needed, one for each level.")
        }
        return list
    }

    /// An integer of at least 1, and small enough that products of a few of them cannot overflow.
    func positive(_ key: String, default fallback: Int? = nil) throws -> Int {
        let number = try int(key, default: fallback)
        guard (1...Self.largest).contains(number) else {
            throw CalderaError("\(path): \(key) is \(number), where a number from 1 to \(Self.largest) is needed.")
        }
        return number
    }

    private static var largest: Int { 1 << 20 }

    /// Throws unless `groups` divides every one of `channels`, and names both.
    func check(groups: Int, divide channels: [Int]) throws {
        for width in channels where width % groups != 0 {
            throw CalderaError("\(path): norm_num_groups \(groups) does not divide block_out_channels \(width).")
        }
    }
}
