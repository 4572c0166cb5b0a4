/// What a language model's graph and its generator need of a tokenizer.
package protocol TextTokenizer: Sendable {
    /// Ids are below this; they may leave gaps.
    var vocabularySize: Int { get }
    /// The id that starts a text, where the model has one.
    var beginningOfText: Int32? { get }
    /// The id with which the model ends a text, where it has one.
    var endOfText: Int32? { get }

    /// The ids of a text.
    ///
    /// - Parameter addSpecialTokens: whether the ids that the model expects around a text, such as `beginningOfText`,
    ///   are added. Special tokens that the text itself spells out are found in either case.
    ///
    /// What the vocabulary cannot write becomes its token for unknown parts. Without one it is left out or an error, as
    /// the reference for the tokenizer's format has it. Throws `CalderaError` also for a text on which the tokenizer's
    /// pattern takes unreasonably long.
    func encode(_ text: String, addSpecialTokens: Bool) throws -> [Int32]

    /// The text of ids. Ids that the vocabulary lacks write nothing; bytes that are not UTF-8 write U+FFFD.
    func decode(_ ids: [Int32], skipSpecialTokens: Bool) -> String
}
