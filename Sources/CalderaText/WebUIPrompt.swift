import CalderaGraph

/// A prompt of the web UI as it comes to the sampler: its text, and a weight behind the text by which the guidance scale is
/// multiplied, as in `a cat :1.2`.
/// Reference: stable-diffusion-webui 1.10, `modules/prompt_parser.py`, `get_multicond_prompt_list`.
package struct WebUIPrompt: Sendable, Equatable {
    package let text: String
    package let guidanceFactor: Double

    /// Throws a usage error for prompts that are composed with `AND`.
    package init(_ prompt: String) throws {
        let scalars = Array(prompt.unicodeScalars)[...]
        guard scalars.wholeWords(Array("AND".unicodeScalars)).isEmpty else {
            throw CalderaError.usage(
                "The prompt joins several with AND, which Caldera does not compose: join them with commas.")
        }
        let trimmed = scalars.trimmedEnd()
        guard let colon = trimmed.lastIndex(of: ":"),
            let factor = trimmed[(colon + 1)...].trimmedStart().guidanceFactor
        else {
            text = trimmed.text
            guidanceFactor = 1
            return
        }
        text = trimmed[..<colon].trimmedEnd().text
        guidanceFactor = factor
    }
}

extension ArraySlice<Unicode.Scalar> {
    /// An optional sign, and digits with at most one point.
    fileprivate var guidanceFactor: Double? {
        guard filter({ $0 == "." }).count <= 1, let number = patternNumber, number.isFinite else { return nil }
        return number
    }
}
