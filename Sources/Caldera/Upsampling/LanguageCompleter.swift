import CalderaLanguage
import CalderaTIPO
import CalderaText

/// A language model as TIPO asks it.
struct LanguageCompleter: PromptCompleter {
    /// As tipo-kgen asks transformers to: an answer is never empty.
    private static let minNewTokens = 2

    private let model: LanguageModel
    private let onText: (Int, String) throws -> Void

    /// - Parameter onText: see `PromptUpsampler.upsample`; the index is that of the request in its call.
    init(_ model: LanguageModel, onText: @escaping (Int, String) throws -> Void) {
        self.model = model
        self.onText = onText
    }

    func complete(_ requests: [CompletionRequest]) throws -> [String] {
        let tokenizer = model.parts.tokenizer
        let prompts = try requests.map { try tokenizer.encode($0.prompt, addSpecialTokens: true) }
        guard let settings = requests.first?.sampling else { return [] }
        var sampling = TokenSampling(settings)
        sampling.minNewTokens = Self.minNewTokens
        var stream = TextStream(tokenizer, rows: requests.count)
        let answers = try model.generate(
            prompts: prompts, sampling: sampling, seeds: requests.map { $0.seed & 0xffff_ffff }
        ) { row, id in
            if let piece = stream.add(id, to: row) { try onText(row, piece) }
            return true
        }
        return zip(prompts, answers).map { tokenizer.decode($0 + $1.ids, skipSpecialTokens: false) }
    }
}

extension LanguageCompleter {
    func hasRoom(for prompt: String) throws -> Bool {
        try model.parts.tokenizer.encode(prompt, addSpecialTokens: true).count < model.context
    }
}

extension TokenSampling {
    init(_ settings: CompletionSampling) {
        self.init()
        temperature = settings.temperature
        (topP, topK, minP) = (settings.topP, settings.topK, settings.minP)
        repetitionPenalty = settings.repetitionPenalty
        maxNewTokens = settings.maxNewTokens
    }
}

/// The texts of several rows of tokens as they grow, piece by piece.
struct TextStream {
    private let tokenizer: any TextTokenizer
    private var rows: [(ids: [Int32], shown: String)]

    init(_ tokenizer: any TextTokenizer, rows: Int) {
        self.tokenizer = tokenizer
        self.rows = Array(repeating: ([], ""), count: rows)
    }

    /// What a token adds to the text of its row; nil while it is but a part of a letter, or a special token.
    mutating func add(_ id: Int32, to row: Int) -> String? {
        rows[row].ids.append(id)
        let text = tokenizer.decode(rows[row].ids, skipSpecialTokens: true)
        guard !text.hasSuffix("\u{FFFD}"), text.hasPrefix(rows[row].shown), text != rows[row].shown else { return nil }
        defer { rows[row].shown = text }
        return String(text.dropFirst(rows[row].shown.count))
    }
}
