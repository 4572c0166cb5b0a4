import CalderaGraph
import Foundation

/// A textual-inversion embedding as the tokenizer knows it: the word that calls it, and the ids of its vectors in the
/// encoder's extended table; Gal et al., "An Image is Worth One Word" (2022).
package struct TextualInversionToken: Sendable, Hashable {
    package let trigger: String
    /// One id for each vector, in order.
    package let ids: [Int32]

    package init(trigger: String, ids: [Int32]) {
        self.trigger = trigger
        self.ids = ids
    }
}

extension CLIPTokenizer {
    struct Trigger: Sendable {
        let token: TextualInversionToken
        /// The ids of the trigger's own name, by which the web UI finds it.
        let name: [Int32]
    }

    /// One or several ids that stay together in a chunk.
    enum Unit: Equatable {
        case token(Int32)
        case embedding(TextualInversionToken)
    }

    /// The same tokenizer with further triggers.
    ///
    /// In plain syntax they are diffusers' (`load_textual_inversion`): words that are looked for in normalized text;
    /// vector k of a trigger is `trigger_k`, and a trigger of several vectors is spelled out as `trigger trigger_1 ...`.
    /// In the web UI's syntax a trigger is found by the ids of its name.
    /// Throws a usage error when a trigger is empty or taken, or has no vectors or ids that the vocabulary has already.
    package func adding(_ tokens: [TextualInversionToken]) throws -> CLIPTokenizer {
        var copy = self
        for token in tokens { try copy.add(token) }
        return copy
    }

    private mutating func add(_ token: TextualInversionToken) throws {
        let name = encodeWithoutTriggers(token.trigger)
        guard !name.isEmpty, !token.ids.isEmpty else {
            throw CalderaError.usage("The embedding \"\(token.trigger)\" has no name or no vectors.")
        }
        guard token.ids.allSatisfy({ $0 >= vocabularySize }) else {
            throw CalderaError.usage("The ids of the embedding \"\(token.trigger)\" belong to other tokens already.")
        }
        let words = token.words
        let taken = Set(contents.values)
        if let word = words.first(where: { taken.contains($0) }) {
            throw CalderaError.usage("Two embeddings are called \"\(word)\": rename one of them.")
        }
        look(
            for: zip(words, token.ids).map { AddedTokens.Token(content: $0, id: $1, isNormalized: true) })
        triggers.append(Trigger(token: token, name: name))
    }

    /// Each trigger of several vectors that the text calls, followed by the words for its further vectors.
    /// Reference: diffusers `TextualInversionLoaderMixin.maybe_convert_prompt`, which under transformers 5 leaves triggers
    /// with capital letters at their first vector; here they are spelled out as well.
    func spellingOutTriggers(_ text: String) -> String {
        let several = triggers.map(\.token).filter { $0.ids.count > 1 }
        if several.isEmpty { return text }
        let found = Set(encode(text))
        return several.filter { found.contains($0.ids[0]) }.reduce(text) { text, token in
            text.replacingOccurrences(
                of: token.trigger, with: token.words.joined(separator: " "), options: .literal)
        }
    }

    /// The units of a run of a prompt as the web UI finds them: at each place the trigger with the longest name.
    /// Reference: stable-diffusion-webui, `EmbeddingDatabase.find_embedding_at_position`.
    func units(_ text: String) -> [Unit] {
        let ids = encodeWithoutTriggers(text)
        var units: [Unit] = []
        var position = 0
        while position < ids.count {
            let rest = ids[position...]
            let trigger = triggers.filter { rest.starts(with: $0.name) }.max { $0.name.count < $1.name.count }
            units.append(trigger.map { .embedding($0.token) } ?? .token(ids[position]))
            position += trigger?.name.count ?? 1
        }
        return units
    }
}

extension TextualInversionToken {
    /// The words of its vectors: `trigger`, `trigger_1`, `trigger_2`, ...
    var words: [String] { ids.indices.map { $0 == 0 ? trigger : "\(trigger)_\($0)" } }
}
