/// How the characters of a prompt are read.
public enum PromptSyntax: String, Sendable, CaseIterable {
    /// As diffusers' pipelines read them: all is text, brackets too, and what 77 tokens do not hold is cut off.
    case plain
    /// As AUTOMATIC1111's web UI reads them: `(a:1.3)`, `[b]`, `BREAK`, `[from:to:when]`, `[a|b]`, any length.
    case webui
}
