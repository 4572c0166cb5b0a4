/// The kinds of tokens as GGUF files number them in `tokenizer.ggml.token_type`.
package enum TokenKind: Int32, Sendable {
    case normal = 1
    case unknown
    /// Never written in a text by itself, such as the start of one.
    case control
    /// Found in the text as it stands.
    case userDefined
    /// Only a step on the way to longer pieces.
    case unused
    /// Stands for one byte, as `<0x0A>`.
    case byte
}
