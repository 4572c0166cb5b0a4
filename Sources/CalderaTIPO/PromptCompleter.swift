/// How the next token is chosen.
package struct CompletionSampling: Sendable, Hashable {
    package var temperature = 0.35
    package var topP = 0.95
    package var topK = 60
    package var minP = 0.1
    package var repetitionPenalty = 1.17
    package var maxNewTokens = 512

    /// tipo-kgen's settings.
    package init() {}
}

/// A text for a language model to go on with.
package struct CompletionRequest: Sendable, Hashable {
    package let prompt: String
    /// Between 0 and 2^32 + 10.
    package let seed: UInt64
    package let sampling: CompletionSampling

    package init(prompt: String, seed: UInt64, sampling: CompletionSampling) {
        self.prompt = prompt
        self.seed = seed
        self.sampling = sampling
    }
}

/// A language model that goes on with prompts.
package protocol PromptCompleter {
    /// The whole texts, each prompt and what follows it, in the order of the requests.
    ///
    /// They may start with `<s>` and end with `</s>`. Special tokens are to be written in them as they stand, for they
    /// mean something in the sections.
    func complete(_ prompts: [CompletionRequest]) throws -> [String]

    /// Whether the model can go on with a prompt of this length.
    func hasRoom(for prompt: String) throws -> Bool
}

extension PromptCompleter {
    package func hasRoom(for prompt: String) -> Bool { true }
}
