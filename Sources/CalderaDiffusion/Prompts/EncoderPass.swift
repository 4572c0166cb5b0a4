import CalderaGraph
import CalderaModels

/// What an encoder made of distinct rows of ids.
struct EncodedRows {
    /// The index of each row.
    let rows: [[Int32]: Int]
    /// [rows, T, C] for each of the states that were asked for.
    let states: [CLIPText.HiddenState: [Float]]
    /// [rows, P]; nil where the pipeline takes no pooled embedding from this encoder.
    let pooled: [Float]?

    /// [T, C] of a row that was encoded.
    func states(_ state: CLIPText.HiddenState, of ids: [Int32]) -> [Float] { entry(states[state] ?? [], ids) }

    /// [P] of a row that was encoded.
    func pooled(of ids: [Int32]) -> [Float]? { pooled.map { entry($0, ids) } }

    private func entry(_ values: [Float], _ ids: [Int32]) -> [Float] {
        guard let row = rows[ids] else { return [] }
        let size = values.count / rows.count
        return Array(values[row * size..<(row + 1) * size])
    }
}

/// Loads an encoder, runs it over rows of ids, and releases it.
struct EncoderPass {
    /// Rows that are encoded side by side: more of them would take memory for little speed.
    private static let largestBatch = 8

    /// A row of a batch and the position of its end-of-text token.
    struct Row: Hashable {
        let ids: [Int32]
        let endOfText: Int
    }

    let plans: PipelinePlans
    let backend: any Backend
    let part: TextEncoderPart

    /// `rows` are distinct and at least one. Throws `CalderaError` with the layer's name where values are not finite.
    func run(_ rows: [Row], states wanted: [CLIPText.HiddenState]) throws -> EncodedRows {
        try check(rows)
        let batch = min(rows.count, Self.largestBatch)
        let plan = try plans.encoder(part, batch: batch, states: wanted)
        let executable = try backend.load(plan, weights: part.weights, part: part.name)
        let givesPooled = plans.givesPooled(part)
        var states = [[Float]](repeating: [], count: wanted.count)
        var pooled: [Float] = []
        for start in stride(from: 0, to: rows.count, by: batch) {
            let chosen = rows[start..<min(start + batch, rows.count)]
            try write(chosen, batch: batch, to: executable)
            try executable.run(.prompt)
            for index in wanted.indices { states[index] += try read("states.\(index)", chosen.count, executable) }
            if givesPooled { pooled += try read("pooled", chosen.count, executable) }
            guard (states + [pooled]).allSatisfy({ $0.allSatisfy(\.isFinite) }) else {
                throw CalderaError.notFinite(
                    try executable.firstNonFinite(.prompt), part: part.name, dtype: plan.dtype)
            }
        }
        return EncodedRows(
            rows: Dictionary(rows.enumerated().map { ($1.ids, $0) }) { first, _ in first },
            states: Dictionary(zip(wanted, states)) { first, _ in first }, pooled: givesPooled ? pooled : nil)
    }

    private func check(_ rows: [Row]) throws {
        let size = part.model.config.vocabularySize
        guard rows.allSatisfy({ row in row.ids.allSatisfy { $0 < size } }) else {
            throw CalderaError(
                "The tokenizer of \(part.name) gives ids beyond its encoder's \(size) tokens: "
                    + "the two belong to different models.")
        }
    }

    /// Fills a batch; where there are too few rows the last one comes again.
    private func write(_ rows: ArraySlice<Row>, batch: Int, to executable: any Executable) throws {
        let filled = rows + Array(repeating: rows[rows.endIndex - 1], count: batch - rows.count)
        let tokens = part.tokenizer.maxLength
        try executable.write("ids", HostTensor([batch, tokens], filled.flatMap(\.ids)))
        guard plans.givesPooled(part) else { return }
        try executable.write("end_of_text", HostTensor([batch], filled.map { Int32($0.endOfText) }))
    }

    /// The first `count` entries of an output.
    private func read(_ name: String, _ count: Int, _ executable: any Executable) throws -> ArraySlice<Float> {
        let tensor = try executable.read(name)
        return tensor.floats.prefix(tensor.floats.count / tensor.shape[0] * count)
    }
}
