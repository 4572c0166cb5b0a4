import CalderaGraph
import CalderaLanguage
import CalderaTIPO
import CalderaText
import Foundation

/// Makes rich prompts of short ones with a language model.
///
/// Two kinds of models are known by their tokenizers: those trained as TIPO was, which have a token `<|long|>`, and
/// small ones as the embedded one is, which go on behind `<sep>` with the prompt that the words before it stand for.
public final class PromptUpsampler {
    private enum Kind {
        case tipo
        /// The id of `<sep>`.
        case pairs(Int32)
    }

    /// The model's name, for people.
    public let modelName: String
    public let deviceName: String
    public let precision: Precision
    private let model: LanguageModel
    private let kind: Kind
    private let lists: TagLists

    /// - Parameters:
    ///   - model: a folder or a GGUF file; nil is the embedded model.
    ///   - tagLists: a folder with the names of artists, characters and the like; see `TagLists`.
    ///   - memoryLimit: bytes; see `Backend.memoryLimit`.
    /// Throws `CalderaError` when the model cannot be opened, is none of either kind, or cannot run on the device.
    public init(
        model: String? = nil, tagLists: String? = nil, device: DeviceChoice = .auto, precision: Precision? = nil,
        memoryLimit: Int? = nil
    ) throws {
        let parts = try LanguageModelLoader.open(model)
        kind = try Self.kind(of: parts)
        // Read even where they are refused: a folder that is none is told first.
        lists = try tagLists.map { try TagLists(folder: URL(fileURLWithPath: $0)) } ?? TagLists()
        let selection = try DeviceSelection(device, precision: precision)
        selection.backend.memoryLimit = memoryLimit
        if tagLists != nil, case .pairs = kind {
            throw CalderaError.usage(
                "\(parts.name) does not tell tags apart: leave --tag-lists away, or give a TIPO model.")
        }
        self.model = try LanguageModel(parts, backend: selection.backend, precision: selection.precision)
        modelName = parts.name
        deviceName = selection.backend.name
        self.precision = selection.precision
    }

    /// Whether the model knows tasks, lengths and meta fields.
    public var hasTasks: Bool {
        if case .tipo = kind { return true }
        return false
    }

    private static func kind(of parts: LanguageParts) throws -> Kind {
        func token(_ text: String) throws -> Int32? {
            let ids = try parts.tokenizer.encode(text, addSpecialTokens: false)
            return ids.count == 1 ? ids[0] : nil
        }
        if try token("<|long|>") != nil { return .tipo }
        if let separator = try token("<sep>") { return .pairs(separator) }
        throw CalderaError(
            "\(parts.name) was not trained to upsample prompts (its tokenizer has neither <|long|> nor <sep>): give a "
                + "TIPO model.")
    }

    /// `count` prompts with consecutive seeds, which share each pass of the model.
    ///
    /// - Parameter onText: is told what the model writes as soon as it is there, by the prompt's place; what it throws
    ///   ends the call.
    ///
    /// Throws a usage error for an empty prompt, names, numbers and bans that are none, options that the model's kind
    /// does not have, and prompts beyond the model's context; `CalderaError` when memory is lacking.
    public func upsample(
        _ request: UpsamplingRequest, onText: (_ index: Int, _ text: String) throws -> Void = { _, _ in }
    ) throws -> [UpsampledText] {
        try request.check()
        switch kind {
        case .tipo: return try withTasks(request, onText)
        case .pairs(let separator): return try withPairs(request, separator, onText)
        }
    }

    // MARK: TIPO

    private func withTasks(
        _ request: UpsamplingRequest, _ onText: (Int, String) throws -> Void
    ) throws -> [UpsampledText] {
        let seeds = request.seeds()
        let requests = try seeds.map { try UpsampleRequest(request, seed: $0) }
        let results = try withoutActuallyEscaping(onText) { onText in
            try Upsampler(completer: LanguageCompleter(model, onText: onText), lists: lists).upsample(requests)
        }
        return zip(results, seeds).map { result, seed in
            UpsampledText(
                prompt: result.prompt, seed: seed,
                sections: result.sections.texts.map { ($0.name, $0.content) },
                passes: result.passes.map {
                    .init(task: $0.operation.task.rawValue, prompt: $0.request.prompt, output: $0.output)
                })
        }
    }

    // MARK: Pairs

    private func withPairs(
        _ request: UpsamplingRequest, _ separator: Int32, _ onText: (Int, String) throws -> Void
    ) throws -> [UpsampledText] {
        if let option = request.taskOptions.first {
            throw CalderaError.usage(
                "\(modelName) has one task and one form: leave \(option) away, or give a TIPO model.")
        }
        let short = [request.tags, request.prompt].map { $0.trimmingCharacters(in: .whitespacesAndNewlines) }
            .filter { !$0.isEmpty }.joined(separator: ", ")
        let tokenizer = model.parts.tokenizer
        let ids = try tokenizer.encode(short, addSpecialTokens: true) + [separator]
        var sampling = CompletionSampling()
        // Words come again in the captions that such models learn: "a red circle and a red cube".
        sampling.repetitionPenalty = 1
        sampling.apply(request)
        let seeds = request.seeds()
        var stream = TextStream(tokenizer, rows: seeds.count)
        let texts = try model.generate(
            prompts: seeds.map { _ in ids }, sampling: TokenSampling(sampling), seeds: seeds
        ) { row, id in
            if let piece = stream.add(id, to: row) { try onText(row, piece) }
            return true
        }
        return try zip(texts, seeds).map { text, seed in
            let prompt = tokenizer.decode(text.ids, skipSpecialTokens: true).trimmingCharacters(in: .whitespaces)
            if prompt.isEmpty {
                throw CalderaError("\(modelName) had nothing to say about \"\(short)\": try another seed.")
            }
            return UpsampledText(
                prompt: prompt, seed: seed, sections: [],
                passes: [.init(task: nil, prompt: short, output: prompt)])
        }
    }
}

extension UpsampleRequest {
    /// Throws a usage error for names that are none.
    fileprivate init(_ request: UpsamplingRequest, seed: UInt64) throws {
        let form = try request.format.map(PromptForm.init(named:)) ?? .standard
        self.init(tags: request.tags, text: request.prompt, form: form)
        task = try request.task.map(PromptTask.init(named:))
        if let length = try request.target.map(TargetLength.init(named:)) {
            (wishes.tagLength, wishes.textLength) = (length, length)
        }
        aspectRatio = request.aspectRatio
        for (field, tags) in request.fields { fields[TagCategory(field)] = tags }
        bans = request.bans
        settings.makesMeta = request.makesFields
        settings.seed = seed
        settings.sampling.apply(request)
    }
}

extension TagCategory {
    fileprivate init(_ field: MetaField) {
        self =
            switch field {
            case .quality: .quality
            case .rating: .rating
            case .artist: .artist
            case .characters: .characters
            case .copyrights: .copyrights
            case .meta: .meta
            }
    }
}

extension CompletionSampling {
    /// Takes what is asked for in place of the defaults.
    fileprivate mutating func apply(_ request: UpsamplingRequest) {
        temperature = request.temperature ?? temperature
        topP = request.topP ?? topP
        topK = request.topK ?? topK
        minP = request.minP ?? minP
    }
}
