import CalderaGraph

/// What a text encoder takes at once: 77 ids with start, end and padding, and the weight of each.
package struct PromptChunk: Sendable, Hashable {
    package let ids: [Int32]
    package let weights: [Float]
}

extension CLIPTokenizer {
    /// How far behind the last comma a word may stand that is taken to the next chunk with all that follows that comma:
    /// the web UI's default for `comma_padding_backtrack`.
    private static let commaBacktrack = 20

    /// A text under plain syntax: one chunk, cut off where it is full, with weights of 1.
    package func plainChunk(_ text: String) -> PromptChunk {
        PromptChunk(ids: tokens(text).ids, weights: [Float](repeating: 1, count: maxLength))
    }

    /// A text under the web UI's syntax, in as many chunks as it needs, at least one. `BREAK` ends a chunk; a full one
    /// ends behind its last comma where that is near. Start, end and padding weigh 1.
    /// Reference: stable-diffusion-webui 1.10, `modules/sd_hijack_clip.py`, `tokenize_line`; unlike there, an embedding
    /// behind that comma moves to the next chunk too.
    /// Throws a usage error for a weight that is no number and for an embedding that fills more than a chunk.
    package func webUIChunks(_ text: String) throws -> [PromptChunk] {
        let comma = encodeWithoutTriggers(",")
        var builder = ChunkBuilder(
            capacity: maxLength - 2, comma: comma.count == 1 ? comma[0] : nil, backtrack: Self.commaBacktrack)
        for run in try PromptAttention.parse(text) {
            if run.isBreak {
                builder.endChunk()
                continue
            }
            for unit in units(run.text) { try builder.add(unit, weight: Float(run.weight)) }
        }
        return builder.finished().map(padded)
    }

    private func padded(_ items: [ChunkBuilder.Item]) -> PromptChunk {
        let padding = maxLength - 2 - items.count
        var ids = [startOfText] + items.map(\.id) + [Int32](repeating: endOfText, count: padding + 1)
        // An encoder whose padding is another id has it behind the first end.
        if let end = ids.firstIndex(of: endOfText) {
            for index in (end + 1)..<max(end + 1, ids.count) { ids[index] = pad }
        }
        let weights = [1] + items.map(\.weight) + [Float](repeating: 1, count: padding + 1)
        return PromptChunk(ids: ids, weights: weights)
    }
}

private struct ChunkBuilder {
    struct Item {
        let id: Int32
        let weight: Float
    }

    let capacity: Int
    let comma: Int32?
    let backtrack: Int
    private var chunks: [[Item]] = []
    private var current: [Item] = []
    private var lastComma: Int?

    init(capacity: Int, comma: Int32?, backtrack: Int) {
        self.capacity = capacity
        self.comma = comma
        self.backtrack = backtrack
    }

    mutating func add(_ unit: CLIPTokenizer.Unit, weight: Float) throws {
        if let comma, unit == .token(comma) {
            lastComma = current.count
        } else {
            moveBehindComma()
        }
        if current.count == capacity { endChunk() }
        switch unit {
        case .token(let id):
            current.append(Item(id: id, weight: weight))
        case .embedding(let token):
            guard token.ids.count <= capacity else {
                throw CalderaError.usage(
                    "The embedding \"\(token.trigger)\" has \(token.ids.count) vectors, and a prompt's chunk holds "
                        + "\(capacity): leave it out of the prompt.")
            }
            if current.count + token.ids.count > capacity { endChunk() }
            current += token.ids.map { Item(id: $0, weight: weight) }
        }
    }

    mutating func endChunk() {
        chunks.append(current)
        current = []
        lastComma = nil
    }

    mutating func finished() -> [[Item]] {
        if !current.isEmpty || chunks.isEmpty { endChunk() }
        return chunks
    }

    /// Where the chunk is full and a comma is near, ends it behind that comma; the rest begins the next.
    private mutating func moveBehindComma() {
        guard current.count == capacity, let comma = lastComma, current.count - comma <= backtrack else { return }
        let moved = Array(current[(comma + 1)...])
        current.removeSubrange((comma + 1)...)
        endChunk()
        current = moved
    }
}
