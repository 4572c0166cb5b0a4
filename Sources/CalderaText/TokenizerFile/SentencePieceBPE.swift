import CalderaGraph

/// SentencePiece's byte pair encoding as GGUF files hold it (`tokenizer.ggml.model` is "llama"): of all adjacent pieces
/// those whose joint has the highest score are joined first, and what the vocabulary lacks is written in bytes.
///
/// Reference: sentencepiece `bpe::Model::Encode` with the identity normalizer; around tokens that the text spells out,
/// llama.cpp's rule, which is also that of transformers' `LlamaTokenizer` in its legacy form: each stretch of text
/// between them gets the prefix space anew.
package struct SentencePieceBPE: TextTokenizer {
    package let beginningOfText: Int32?
    package let endOfText: Int32?
    package var vocabularySize: Int { names.count }

    private let addsPrefixSpace: Bool
    private let table: PieceTable
    private let names: [ScalarText]
    private let kinds: [TokenKind]
    private let finder: AddedTokenFinder
    private let decoder: TokenizerDecoder

    private static let space: Unicode.Scalar = "\u{2581}"

    /// - Parameters:
    ///   - tokens: the pieces by id: `tokenizer.ggml.tokens`.
    ///   - scores: one for each piece, the highest joined first: `tokenizer.ggml.scores`.
    ///   - types: one for each piece: `tokenizer.ggml.token_type`; empty if all are normal.
    ///   - addPrefixSpace: whether a text is taken as if a space stood before it: `tokenizer.ggml.add_space_prefix`.
    ///   - bos: the id that starts a text when special tokens are asked for.
    ///   - eos: the id with which the model ends a text; it is not added.
    ///
    /// Throws `CalderaError` when the lists do not fit each other or an id is none of theirs.
    package init(
        tokens: [String], scores: [Float], types: [Int32], addPrefixSpace: Bool, bos: Int32?, eos: Int32?
    ) throws {
        guard tokens.count == scores.count, types.isEmpty || tokens.count == types.count, !tokens.isEmpty else {
            throw CalderaError(
                "The tokenizer has \(tokens.count) pieces, \(scores.count) scores and \(types.count) types: the model "
                    + "file is damaged, download it again.")
        }
        for id in [bos, eos].compactMap({ $0 }) where !tokens.indices.contains(Int(id)) {
            throw CalderaError("The tokenizer has no piece \(id), with which texts start or end: download it again.")
        }
        let kinds = types.isEmpty ? tokens.map { _ in .normal } : types.map { TokenKind(rawValue: $0) ?? .normal }
        let names = tokens.map { ScalarText($0) }
        self.names = names
        self.kinds = kinds
        beginningOfText = bos
        endOfText = eos
        addsPrefixSpace = addPrefixSpace
        table = PieceTable(tokens, scores, kinds)
        finder = AddedTokenFinder(
            names.indices.compactMap { id in
                guard kinds[id] == .control || kinds[id] == .userDefined else { return nil }
                return (names[id], AddedToken(content: names[id], id: Int32(id)))
            })
        let steps: [TokenizerDecoder] = [.replace(.string([Self.space]), [" "]), .byteFallback, .fuse]
        decoder = .sequence(steps + (addPrefixSpace ? [.strip(" ", start: 1, stop: 0)] : []))
    }

    package func encode(_ text: String, addSpecialTokens: Bool) throws -> [Int32] {
        let scalars = ScalarText(text)
        var ids: [Int32] = addSpecialTokens ? beginningOfText.map { [$0] } ?? [] : []
        for piece in finder.pieces(scalars) {
            switch piece {
            case .token(let id): ids.append(id)
            case .text(let range):
                let prefix: ScalarText = addsPrefixSpace ? [Self.space] : []
                let word = prefix + scalars[range].map { $0 == " " ? Self.space : $0 }
                var joiner = PieceJoiner(word, table)
                joiner.join()
                try joiner.append(to: &ids)
            }
        }
        return ids
    }

    package func decode(_ ids: [Int32], skipSpecialTokens: Bool) -> String {
        let tokens = ids.compactMap { id -> ScalarText? in
            guard names.indices.contains(Int(id)) else { return nil }
            let kind = kinds[Int(id)]
            return skipSpecialTokens && (kind == .control || kind == .unknown) ? nil : names[Int(id)]
        }
        return Array(decoder.decode(tokens).joined())[...].text
    }
}

/// The pieces that text can be made of.
struct PieceTable: Sendable {
    struct Entry: Sendable {
        let id: Int32
        let score: Float
        let isUnused: Bool
    }

    private(set) var entries: [[UInt8]: Entry] = [:]
    private(set) var bytes = [Int32?](repeating: nil, count: 256)
    private(set) var unknown: Int32?

    init(_ tokens: [String], _ scores: [Float], _ kinds: [TokenKind]) {
        entries.reserveCapacity(tokens.count)
        for (id, token) in tokens.enumerated() {
            let name = Array(token.utf8)
            switch kinds[id] {
            case .control: break
            case .unknown: unknown = unknown ?? Int32(id)
            case .byte: ByteToken.byte(name).map { bytes[Int($0)] = Int32(id) }
            case .normal, .userDefined, .unused:
                entries[name] = entries[name] ?? Entry(id: Int32(id), score: scores[id], isUnused: kinds[id] == .unused)
            }
        }
    }
}

/// The pieces of one stretch of text while they are joined.
private struct PieceJoiner {
    private struct Offer: Comparable {
        let score: Float
        let left: Int
        /// How many bytes the joint has: what tells an offer whose pieces have changed since.
        let length: Int

        /// Whether the other one is taken first: the higher score, and of equal ones the leftmost.
        static func < (a: Offer, b: Offer) -> Bool { a.score != b.score ? a.score < b.score : a.left > b.left }
    }

    private let table: PieceTable
    private let bytes: [UInt8]
    /// By the place of its first byte: where each piece ends; 0 where none starts.
    private var ends: [Int]
    /// By the place of its first byte: where the piece before it starts; -1 for the first.
    private var previous: [Int]
    private var offers = Heap<Offer>()
    /// How the pieces that are only steps on the way were made.
    private var halves: [[UInt8]: Int] = [:]

    init(_ text: ScalarText, _ table: PieceTable) {
        self.table = table
        bytes = text.utf8Bytes
        ends = Array(repeating: 0, count: bytes.count)
        previous = Array(repeating: -1, count: bytes.count)
        var start = 0
        var last = -1
        for scalar in text {
            ends[start] = start + UTF8.width(scalar)
            previous[start] = last
            last = start
            start = ends[start]
        }
    }

    mutating func join() {
        var position = 0
        while position < bytes.count {
            offer(position)
            position = ends[position]
        }
        while let best = offers.popGreatest() {
            let middle = ends[best.left]
            guard middle > best.left, middle < bytes.count, ends[middle] == best.left + best.length else { continue }
            ends[best.left] = ends[middle]
            ends[middle] = 0
            if ends[best.left] < bytes.count { previous[ends[best.left]] = best.left }
            if previous[best.left] >= 0 { offer(previous[best.left]) }
            offer(best.left)
        }
    }

    func append(to ids: inout [Int32]) throws {
        var position = 0
        while position < bytes.count {
            try append(bytes[position..<ends[position]], to: &ids)
            position = ends[position]
        }
    }

    private func append(_ piece: ArraySlice<UInt8>, to ids: inout [Int32]) throws {
        let entry = table.entries[Array(piece)]
        if let entry, entry.isUnused, let half = halves[Array(piece)] {
            try append(piece.prefix(half), to: &ids)
            return try append(piece.dropFirst(half), to: &ids)
        }
        if let entry { return ids.append(entry.id) }
        let spelled = piece.compactMap { table.bytes[Int($0)] }
        if spelled.count == piece.count { return ids += spelled }
        guard let unknown = table.unknown else {
            throw CalderaError(
                "The tokenizer has no piece for \"\(String(decoding: piece, as: UTF8.self))\": "
                    + "leave it out of the text."
            )
        }
        if ids.last != unknown { ids.append(unknown) }
    }

    private mutating func offer(_ left: Int) {
        let middle = ends[left]
        guard middle < bytes.count else { return }
        let piece = Array(bytes[left..<ends[middle]])
        guard let entry = table.entries[piece] else { return }
        offers.insert(Offer(score: entry.score, left: left, length: piece.count))
        if entry.isUnused { halves[piece] = middle - left }
    }
}

/// A binary heap whose greatest item comes first.
private struct Heap<Item: Comparable> {
    private var items: [Item] = []

    mutating func insert(_ item: Item) {
        items.append(item)
        var child = items.count - 1
        while child > 0, items[(child - 1) / 2] < items[child] {
            items.swapAt((child - 1) / 2, child)
            child = (child - 1) / 2
        }
    }

    mutating func popGreatest() -> Item? {
        guard let greatest = items.first, let last = items.popLast() else { return nil }
        if items.isEmpty { return greatest }
        items[0] = last
        var parent = 0
        while true {
            var child = 2 * parent + 1
            guard child < items.count else { return greatest }
            if child + 1 < items.count, items[child] < items[child + 1] { child += 1 }
            if items[child] <= items[parent] { return greatest }
            items.swapAt(parent, child)
            parent = child
        }
    }
}
