import CalderaModels
import CalderaText

/// The prompts of a run as one encoder takes them: in chunks, as many for each text of a prompt.
struct ChunkedPrompts {
    /// For each prompt and each of its texts the chunks.
    private(set) var sides: [[[PromptChunk]]]
    /// The chunk of an empty text.
    let empty: PromptChunk

    init(_ prompts: RunPrompts, syntax: PromptSyntax, tokenizer: CLIPTokenizer) throws {
        empty = tokenizer.plainChunk("")
        sides = try prompts.sides.map { side in
            try side.timeline.texts.map { text in
                switch syntax {
                case .plain: [tokenizer.plainChunk(text)]
                case .webui: try tokenizer.webUIChunks(text)
                }
            }
        }
    }

    /// The most chunks that a text of each prompt has.
    var counts: [Int] { sides.map { side in side.map(\.count).max() ?? 1 } }

    /// Empty chunks behind each text of each prompt, up to `counts`.
    mutating func pad(to counts: [Int]) {
        sides = zip(sides, counts).map { side, count in
            side.map { chunks in chunks + Array(repeating: empty, count: count - chunks.count) }
        }
    }

    /// Whether prompts of unlike length may have to be padded with empty chunks.
    var needsEmpty: Bool { counts.contains { $0 > 1 } }

    /// Every distinct row of ids.
    var rows: [[Int32]] {
        var known: Set<[Int32]> = []
        let all = sides.joined().joined().map(\.ids) + (needsEmpty ? [empty.ids] : [])
        return all.filter { known.insert($0).inserted }
    }
}

/// What one encoder made of the prompts of a run.
struct EncodedPrompts {
    struct Text {
        /// [T, C] of all chunks.
        let states: [Float]
        /// [P] of the first chunk.
        let pooled: [Float]?
    }

    /// Channels.
    let width: Int
    /// For each prompt and each of its texts.
    let sides: [[Text]]
    /// One empty chunk under each prompt's hidden state; nil where none is needed.
    let empty: [Text]?

    init(_ chunked: ChunkedPrompts, _ encoded: EncodedRows, states: [CLIPText.HiddenState], width: Int) {
        self.width = width
        sides = zip(chunked.sides, states).map { texts, state in Self.texts(texts, encoded, state) }
        empty = chunked.needsEmpty ? states.map { Self.texts([[chunked.empty]], encoded, $0)[0] } : nil
    }

    private static func texts(
        _ texts: [[PromptChunk]], _ encoded: EncodedRows, _ state: CLIPText.HiddenState
    ) -> [Text] {
        var states = [[Float]](repeating: [], count: texts.count)
        for chunk in texts[0].indices {
            var chunkStates = ChunkStates(states: texts.map { encoded.states(state, of: $0[chunk].ids) })
            chunkStates.emphasize(texts.map { $0[chunk].weights })
            for text in texts.indices { states[text] += chunkStates.states[text] }
        }
        return zip(texts, states).map { Text(states: $1, pooled: encoded.pooled(of: $0[0].ids)) }
    }
}
