import CalderaGraph
import CalderaModels
import CalderaText

/// What opening a language model gives: its architecture, weights and tokenizer.
package struct LanguageParts {
    package let config: LlamaConfig
    package let weights: any WeightSource
    package let tokenizer: any TextTokenizer
    /// The model's name, for people.
    package let name: String

    /// Throws `CalderaError` when the tokenizer has ids that the model does not know.
    package init(config: LlamaConfig, weights: any WeightSource, tokenizer: any TextTokenizer, name: String) throws {
        guard tokenizer.vocabularySize <= config.vocabularySize else {
            throw CalderaError(
                "The tokenizer of \(name) has \(tokenizer.vocabularySize) tokens where the model knows "
                    + "\(config.vocabularySize): they are not of one model.")
        }
        self.config = config
        self.weights = weights
        self.tokenizer = tokenizer
        self.name = name
    }
}

/// A text that a language model has continued.
package struct GeneratedTokens: Sendable, Equatable {
    package enum End: Sendable, Equatable {
        /// The model said so; the id with which it did is the last of `ids`.
        case endOfText
        /// `TokenSampling.maxNewTokens`.
        case length
        /// The model's context is full.
        case context
        /// The caller said so.
        case stopped
    }

    /// The new tokens, without the prompt.
    package let ids: [Int32]
    package let end: End

    package init(ids: [Int32], end: End) {
        self.ids = ids
        self.end = end
    }
}

/// A language model on a device, which continues texts.
package final class LanguageModel {
    package let parts: LanguageParts
    /// The most tokens of a text, prompt included.
    package let context: Int
    /// Texts that one pass may take; more are taken in turn.
    package let largestBatch: Int
    private let model: Llama
    private let backend: any Backend
    private let precision: Precision
    private let chunk: Int
    /// For as many texts as a call before had, or more.
    private var plan: LanguagePlan?

    /// Nothing is compiled before the first call.
    ///
    /// - Parameters:
    ///   - context: at most the model's own, and the default; the caches take memory for all of it.
    ///   - chunk: tokens of a prompt that one pass takes.
    ///
    /// Throws a usage error for a context that the model does not have.
    package init(
        _ parts: LanguageParts, backend: any Backend, precision: Precision, context: Int? = nil, largestBatch: Int = 8,
        chunk: Int = 64
    ) throws {
        let most = parts.config.positions
        guard (1...most).contains(context ?? most) else {
            throw CalderaError.usage(
                "A context of \(context ?? most) tokens is not one that \(parts.name) has: choose 1 to \(most).")
        }
        self.parts = parts
        self.context = context ?? most
        self.largestBatch = max(1, largestBatch)
        self.backend = backend
        self.precision = precision
        self.chunk = max(1, min(chunk, self.context))
        model = Llama(parts.config)
    }

    /// Continues each prompt until the model ends it, `sampling` does, the context is full, or `onToken` returns false.
    ///
    /// Several prompts share each pass; a text's tokens are those that it would have alone.
    /// - Parameters:
    ///   - seeds: one for each prompt: the stream of `torch.manual_seed`.
    ///   - onToken: is told each new token and the index of its prompt as soon as it is there; what it throws ends the
    ///     call. Returning false ends that text.
    ///
    /// Throws a usage error for an empty prompt, one that leaves no room in the context, ids that the model lacks and
    /// settings out of range; `CalderaError` when memory is lacking or the model's values are not finite.
    package func generate(
        prompts: [[Int32]], sampling: TokenSampling, seeds: [UInt64],
        onToken: (_ row: Int, _ id: Int32) throws -> Bool = { _, _ in true }
    ) throws -> [GeneratedTokens] {
        try sampling.check()
        guard seeds.count == prompts.count else {
            throw CalderaError.usage("\(prompts.count) prompts need as many seeds, not \(seeds.count).")
        }
        try prompts.forEach(check)
        return try stride(from: 0, to: prompts.count, by: largestBatch).flatMap { first in
            let rows = first..<min(prompts.count, first + largestBatch)
            return try run(Array(prompts[rows]), sampling, Array(seeds[rows])) { try onToken(first + $0, $1) }
        }
    }

    private func check(_ prompt: [Int32]) throws {
        if prompt.isEmpty { throw CalderaError.usage("A prompt without a token cannot be continued.") }
        guard prompt.count < context else {
            throw CalderaError.usage(
                "The prompt has \(prompt.count) tokens, which leaves no room in a context of \(context): shorten it.")
        }
        if let id = prompt.first(where: { !(0..<Int32(parts.config.vocabularySize)).contains($0) }) {
            throw CalderaError.usage("The model has no token \(id): it knows \(parts.config.vocabularySize).")
        }
    }

    private func run(
        _ prompts: [[Int32]], _ sampling: TokenSampling, _ seeds: [UInt64], _ onToken: (Int, Int32) throws -> Bool
    ) throws -> [GeneratedTokens] {
        let plan = try self.plan(batch: prompts.count)
        let endOfText = Set(
            parts.config.endOfText.compactMap { Int32(exactly: $0) } + (parts.tokenizer.endOfText.map { [$0] } ?? []))
        var texts = zip(prompts, seeds).map {
            GrowingText($0, TokenSampler(sampling, prompt: $0, endOfText: endOfText, seed: $1))
        }
        var logits = try plan.begin(prompts)
        while true {
            for row in texts.indices where texts[row].end == nil {
                let id = texts[row].append(logits[row])
                let goesOn = try onToken(row, id)
                texts[row].end =
                    if endOfText.contains(id) {
                        .endOfText
                    } else if !goesOn {
                        .stopped
                    } else if texts[row].newCount >= sampling.maxNewTokens {
                        .length
                    } else {
                        texts[row].ids.count >= context ? .context : nil
                    }
            }
            let active = texts.indices.filter { texts[$0].end == nil }
            if active.isEmpty { return texts.map(\.result) }
            logits = try plan.step(texts.map { ($0.ids[$0.ids.count - 1], $0.ids.count - 1) }, active: active)
        }
    }

    private func plan(batch: Int) throws -> LanguagePlan {
        // Texts that end early leave rows of their pass empty, which costs less than compiling for fewer.
        if let plan, plan.batch >= batch { return plan }
        // The old one's memory goes first.
        plan = nil
        let made = try LanguagePlan(
            model, weights: parts.weights, backend: backend, precision: precision, batch: batch, context: context,
            chunk: chunk)
        plan = made
        return made
    }
}

/// A text while it grows.
private struct GrowingText {
    private(set) var ids: [Int32]
    var end: GeneratedTokens.End?
    private var sampler: TokenSampler
    private let promptCount: Int

    init(_ prompt: [Int32], _ sampler: TokenSampler) {
        ids = prompt
        promptCount = prompt.count
        self.sampler = sampler
    }

    var newCount: Int { ids.count - promptCount }
    var result: GeneratedTokens { GeneratedTokens(ids: Array(ids.dropFirst(promptCount)), end: end ?? .stopped) }

    mutating func append(_ logits: ArraySlice<Float>) -> Int32 {
        let id = sampler.next(logits)
        ids.append(id)
        return id
    }
}
