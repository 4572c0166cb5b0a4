import CalderaGraph
import CalderaLanguage
import CalderaTIPO

/// A short prompt for a language model to enrich. Nil means: the default of the model's kind.
public struct UpsamplingRequest: Sendable {
    /// A sentence or a few; may be empty where there are tags.
    public var prompt: String
    /// Tags with commas between them; may be empty where there is a prompt.
    public var tags: String
    /// What is made of what, by TIPO's names ("tag_to_long"); nil does what fits the prompt and the tags.
    public var task: String?
    /// How much is wanted: very_short, short, long or very_long.
    public var target: String?
    /// How the finished prompt is put together: a name, or a template with placeholders such as `<|general|>`.
    public var format: String?
    /// Tags that must not appear: texts that they hold, or patterns that they match.
    public var bans: [String] = []
    /// The picture's width divided by its height, which the model is told.
    public var aspectRatio: Double?
    /// Tags with commas between them that belong into meta fields; see `MetaField`.
    public var fields: [MetaField: String] = [:]
    /// Whether the model writes meta fields of its own, beside those that it is told.
    public var makesFields = false
    /// The first prompt's seed; nil draws one. Prompt i of the call has the seed plus i.
    public var seed: UInt64?
    public var count = 1
    public var temperature: Double?
    public var topP: Double?
    public var topK: Int?
    public var minP: Double?

    public init(prompt: String, tags: String = "") {
        self.prompt = prompt
        self.tags = tags
    }

    /// The settings that only models trained as TIPO was understand, by their options' names.
    var taskOptions: [String] {
        let given: [(String, Bool)] = [
            ("--task", task != nil), ("--target", target != nil), ("--format", format != nil), ("--ban", !bans.isEmpty),
            ("--aspect-ratio", aspectRatio != nil), ("--gen-meta", makesFields),
        ]
        return given.filter(\.1).map(\.0) + MetaField.allCases.filter { fields[$0] != nil }.map { "--\($0.rawValue)" }
    }

    /// Throws a usage error when there is nothing to enrich, or the count or a seed is out of range.
    func check() throws {
        if (prompt + tags + fields.values.joined()).allSatisfy(\.isWhitespace) {
            throw CalderaError.usage("The prompt is empty: give a few tags or a sentence to upsample.")
        }
        guard count > 0, (seed ?? 0).addingReportingOverflow(UInt64(count)).overflow == false else {
            throw CalderaError.usage("The seeds of \(count) prompts from \(seed ?? 0) on are no numbers: choose fewer.")
        }
        if let aspectRatio, aspectRatio <= 0 {
            throw CalderaError.usage("An aspect ratio of \(aspectRatio) is that of no picture: give one above 0.")
        }
    }

    /// `count` seeds in their order.
    func seeds() -> [UInt64] {
        // As long as tipo-kgen's: 32 bits.
        let first = seed ?? UInt64(UInt32.random(in: 0...UInt32.max))
        return (0..<UInt64(count)).map { first + $0 }
    }
}

/// What TIPO's models are told of a picture beside its tags and its text.
public enum MetaField: String, CaseIterable, Sendable {
    case quality, rating, artist, characters, copyrights, meta
}

/// A prompt that a language model has made richer.
public struct UpsampledText: Sendable {
    /// One pass of the model.
    public struct Pass: Sendable {
        /// By TIPO's names; nil where the model has one task alone.
        public let task: String?
        /// What the model was given and what it made of it, with its special tokens.
        public let prompt: String
        public let output: String
    }

    /// The finished prompt.
    public let prompt: String
    public let seed: UInt64
    /// Its parts by name, such as `general` (tags) and `extended` (text), in the model's order; none where the model
    /// makes no difference between them.
    public let sections: [(name: String, content: String)]
    public let passes: [Pass]
}
