import CalderaGraph

/// A template of a finished prompt: text with placeholders such as `<|general|>` for the sections.
package struct PromptForm: Sendable {
    package let template: PythonText

    package init(_ template: String) { self.template = PythonText(template) }

    /// The forms that tipo-kgen comes with, by short names.
    package static let named: [(name: String, form: PromptForm)] = [
        ("tags", PromptForm(head + "\n\n<|general|>,\n\n" + tail)),
        ("text", PromptForm("<|extended|>.")),
        ("tags-first", PromptForm(head + "\n\n<|general|>,\n\n<|extended|>.\n\n" + tail)),
        ("text-first", PromptForm(head + "\n\n<|extended|>.\n\n<|general|>,\n\n" + tail)),
        ("both-texts", PromptForm(head + "\n\n<|generated|>.\n\n<|general|>,\n\n<|extended|>.\n\n" + tail)),
    ]

    /// Tags, then text: what tipo-kgen recommends.
    package static let standard = PromptForm(head + "\n\n<|general|>,\n\n<|extended|>.\n\n" + tail)

    private static let head = "<|special|>, <|characters|>, <|copyrights|>, \n<|artist|>, "
    private static let tail = "<|quality|>, <|meta|>, <|rating|>"

    /// A form by its name, or a template of one's own: whatever holds a placeholder.
    /// Throws a usage error when the text is neither.
    package init(named text: String) throws {
        if let named = Self.named.first(where: { $0.name == text }) {
            self = named.form
        } else if text.contains("<|"), text.contains("|>") {
            self.init(text)
        } else {
            let names = Self.named.map(\.name)
            throw CalderaError.usage(
                "There is no prompt format \"\(text)\"\(NearNames.suggestion(text, names)); there are "
                    + names.joined(separator: ", ") + ", and templates such as \"<|special|>, <|general|>\".")
        }
    }

    /// Whether the form has a place for a section.
    func mentions(_ section: PythonText) -> Bool { template.contains(Self.placeholder(section)) }

    /// The prompt: sections in their places, places without one left out together with a comma behind them, and runs
    /// of spaces and empty lines made shorter.
    /// Reference: tipo-kgen, `formatter.apply_format`.
    package func apply(_ prompt: ParsedPrompt) -> PythonText {
        var form = template
        if prompt["extended"]?.isEmpty ?? true {
            form = form.replacing(Self.placeholder("extended"), with: Self.placeholder("generated"))
        }
        for (key, value) in prompt.sections {
            let place = Self.placeholder(key)
            if value.isEmpty {
                form = form.replacing(place + ",", with: "").replacing(place, with: "")
            } else {
                form = form.replacing(place, with: value.joined)
            }
        }
        let cleaned = PythonText(Self.squeezed(Self.withoutPlaceholders(form.scalars)))
        return cleaned.stripped().stripped(of: ",")
    }

    private static func placeholder(_ section: PythonText) -> PythonText { "<|" + section + "|>" }

    /// `re.sub(r"<\|(?:(?!<\|.*\|>).)*\|>", "", form)`: takes out `<|`...`|>` within a line where no other such place
    /// starts inside.
    private static func withoutPlaceholders(_ form: [Unicode.Scalar]) -> [Unicode.Scalar] {
        let lines = form.split(separator: "\n", omittingEmptySubsequences: false)
        return Array(lines.map { withoutPlaceholders(line: Array($0)) }.joined(separator: ["\n"]))
    }

    private static func withoutPlaceholders(line: [Unicode.Scalar]) -> [Unicode.Scalar] {
        func stands(_ first: Unicode.Scalar, _ second: Unicode.Scalar, _ position: Int) -> Bool {
            position + 1 < line.count && line[position] == first && line[position + 1] == second
        }
        let closings = line.indices.filter { stands("|", ">", $0) }
        var result: [Unicode.Scalar] = []
        var position = 0
        while position < line.count {
            guard stands("<", "|", position) else {
                result.append(line[position])
                position += 1
                continue
            }
            // Scalars are taken up to the next place where another placeholder could stand whole.
            let stop =
                line.indices.first { $0 >= position + 2 && stands("<", "|", $0) && (closings.last ?? -1) >= $0 + 2 }
                ?? line.count
            if let closing = closings.last(where: { $0 >= position + 2 && $0 <= stop }) {
                position = closing + 2
            } else {
                result.append(line[position])
                position += 1
            }
        }
        return result
    }

    /// Spaces at the start of a line go, more than two line breaks become two, and several spaces one, in that order.
    private static func squeezed(_ form: [Unicode.Scalar]) -> [Unicode.Scalar] {
        var lines: [Unicode.Scalar] = []
        for scalar in form where !(scalar == " " && lines.last == "\n") { lines.append(scalar) }
        var result: [Unicode.Scalar] = []
        for scalar in lines {
            if scalar == "\n", result.suffix(2) == ["\n", "\n"] { continue }
            if scalar == " ", result.last == " " { continue }
            result.append(scalar)
        }
        return result
    }
}
