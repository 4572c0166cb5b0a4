import CalderaGraph

/// Byte pair encoding with a list of merges, over pieces that are UTF-8 as it stands.
/// Reference: tokenizers, `models::bpe::BPE`.
struct TokenizerModel: Sendable {
    /// How a piece that is not in the vocabulary is written.
    struct Fallback: Sendable {
        var unknown: Int32?
        /// Whether adjacent unknown scalars are one token.
        var fusesUnknown = false
        /// The ids of `<0x00>`...`<0xFF>`, nil for those that the vocabulary lacks; empty without byte fallback.
        var bytes: [Int32?] = []
    }

    let ids: [[UInt8]: Int32]
    private let merges: [UInt64: UInt64]
    private let fallback: Fallback
    private let ignoresMerges: Bool
    private let prefix: [UInt8]
    private let suffix: [UInt8]

    /// Reads the `model` of a tokenizer file. Throws `CalderaError` when it is no byte pair encoding, or when its
    /// vocabulary and its merges do not fit.
    init(_ component: TokenizerComponent) throws {
        let type = try component.string("type", default: "BPE")
        guard type == "BPE" else {
            throw CalderaError("\(component.place): the model \"\(type)\" is not supported; Caldera knows BPE.")
        }
        guard component.value("dropout") == nil || component.isZero("dropout") else {
            throw CalderaError("\(component.place): encoding with dropout is for training; set \"dropout\" to null.")
        }
        let prefix = try component.string("continuing_subword_prefix", default: "")
        let ids = try Self.vocabulary(component)
        var pairs = PairTable(ids: ids, prefix: Array(prefix.utf8), place: component.place)
        for (rank, merge) in try component.list("merges").enumerated() { try pairs.add(merge, rank) }
        var fallback = Fallback(fusesUnknown: try component.bool("fuse_unk", default: false))
        if try component.bool("byte_fallback", default: false) { fallback.bytes = Self.byteTokens(ids) }
        if component.value("unk_token") != nil {
            let name = try component.string("unk_token")
            guard let id = ids[Array(name.utf8)] else {
                throw CalderaError("\(component.place): the vocabulary lacks the unk_token \(name).")
            }
            fallback.unknown = id
        }
        self.ids = ids
        self.merges = pairs.merges
        self.fallback = fallback
        ignoresMerges = try component.bool("ignore_merges", default: false)
        self.prefix = Array(prefix.utf8)
        suffix = Array(try component.string("end_of_word_suffix", default: "").utf8)
    }

    /// A model of a vocabulary and merges that are known to fit.
    init(ids: [[UInt8]: Int32], merges: [UInt64: UInt64], ignoresMerges: Bool) {
        self.ids = ids
        self.merges = merges
        self.ignoresMerges = ignoresMerges
        fallback = Fallback()
        prefix = []
        suffix = []
    }

    /// Appends the ids of one word. What the vocabulary cannot write is left out when there is no unknown token.
    func encode(_ word: ScalarText, into ids: inout [Int32]) {
        if word.isEmpty { return }
        if ignoresMerges, let id = self.ids[word.utf8Bytes] { return ids.append(id) }
        let symbols = symbols(word)
        if symbols.isEmpty { return }
        var chain = SymbolChain(symbols)
        chain.join(merges)
        chain.append(to: &ids)
    }

    private func symbols(_ word: ScalarText) -> [Int32] {
        var symbols: [Int32] = []
        symbols.reserveCapacity(word.count)
        var unknown: Int32?
        for (position, scalar) in word.enumerated() {
            let piece = piece(scalar, isFirst: position == 0, isLast: position == word.count - 1)
            if let id = ids[piece] {
                if let pending = unknown { symbols.append(pending) }
                unknown = nil
                symbols.append(id)
            } else if let bytes = byteTokens(piece) {
                symbols += bytes
            } else if let id = fallback.unknown {
                if let pending = unknown, !fallback.fusesUnknown { symbols.append(pending) }
                unknown = id
            }
        }
        if let unknown { symbols.append(unknown) }
        return symbols
    }

    private func piece(_ scalar: Unicode.Scalar, isFirst: Bool, isLast: Bool) -> [UInt8] {
        let bytes = Array(UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter)
        if prefix.isEmpty, suffix.isEmpty { return bytes }
        return (isFirst ? [] : prefix) + bytes + (isLast ? suffix : [])
    }

    private func byteTokens(_ piece: [UInt8]) -> [Int32]? {
        if fallback.bytes.isEmpty { return nil }
        let tokens = piece.compactMap { fallback.bytes[Int($0)] }
        return tokens.count == piece.count ? tokens : nil
    }

    private static func byteTokens(_ ids: [[UInt8]: Int32]) -> [Int32?] {
        (UInt8.min...UInt8.max).map { ids[Array(ByteToken.name($0).utf8)] }
    }

    private static func vocabulary(_ component: TokenizerComponent) throws -> [[UInt8]: Int32] {
        let entries = try component.entries("vocab")
        var ids: [[UInt8]: Int32] = [:]
        ids.reserveCapacity(entries.count)
        for (piece, value) in entries {
            guard case .integer(let number) = value, let id = Int32(exactly: number), id >= 0 else {
                throw CalderaError(
                    "\(component.place), vocab: \(piece.debugDescription) has no id: download the file again.")
            }
            ids[Array(piece.utf8)] = id
        }
        return ids
    }
}

extension TokenizerComponent {
    fileprivate func isZero(_ key: String) -> Bool {
        switch value(key) {
        case .integer(0): true
        case .number(let number): number == 0
        default: false
        }
    }
}

/// The names of the tokens that stand for bytes.
enum ByteToken {
    static func name(_ byte: UInt8) -> String {
        let digits = String(byte, radix: 16, uppercase: true)
        return "<0x" + (byte < 16 ? "0" : "") + digits + ">"
    }

    /// The byte that a token of six letters stands for.
    static func byte(_ name: [UInt8]) -> UInt8? {
        guard name.count == 6, name.starts(with: "<0x".utf8), name[5] == UInt8(ascii: ">") else { return nil }
        return UInt8(String(decoding: name[3..<5], as: UTF8.self), radix: 16)
    }
}

/// Merges by the ids of their two sides, each with its rank and the id of what it makes.
struct PairTable {
    private let ids: [[UInt8]: Int32]
    /// What the right side of a merge starts with and the merged piece lacks.
    private let prefix: [UInt8]
    private let place: String
    /// As `SymbolChain` takes them: the rank in the upper half, the id in the lower.
    private(set) var merges: [UInt64: UInt64] = [:]

    init(ids: [[UInt8]: Int32], prefix: [UInt8] = [], place: String) {
        self.ids = ids
        self.prefix = prefix
        self.place = place
        merges.reserveCapacity(ids.count)
    }

    /// Adds a merge, written as `"left right"` or as `["left", "right"]`.
    mutating func add(_ merge: ExactJSON, _ rank: Int) throws {
        switch merge {
        case .string(let line): try add(line: line, rank)
        case .array(let sides):
            guard sides.count == 2, case .string(let left) = sides[0], case .string(let right) = sides[1] else {
                throw malformed(rank)
            }
            try add(Array(left.utf8), Array(right.utf8), rank)
        default: throw malformed(rank)
        }
    }

    mutating func add(line: String, _ rank: Int) throws {
        let sides = line.utf8.split(separator: UInt8(ascii: " "), omittingEmptySubsequences: false)
        guard sides.count == 2 else { throw malformed(rank) }
        try add(Array(sides[0]), Array(sides[1]), rank)
    }

    private mutating func add(_ left: [UInt8], _ right: [UInt8], _ rank: Int) throws {
        let merged = left + (right.starts(with: prefix) ? Array(right.dropFirst(prefix.count)) : right)
        guard let first = ids[left], let second = ids[right], let id = ids[merged] else {
            throw CalderaError(
                "\(place), merge \(rank): the vocabulary lacks \(Self.text(left)), \(Self.text(right)) or "
                    + "\(Self.text(merged)): download the file again.")
        }
        // A pair that is listed twice has its last rank, as in the reference.
        merges[BytePairEncoder.key(first, second)] = UInt64(rank) << 32 | UInt64(UInt32(bitPattern: id))
    }

    private func malformed(_ rank: Int) -> CalderaError {
        CalderaError("\(place), merge \(rank) is not a pair of pieces: download the file again.")
    }

    private static func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }
}
