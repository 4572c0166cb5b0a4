import CalderaGraph

/// A short prompt that is to become a rich one.
package struct UpsampleRequest: Sendable {
    /// Tags with commas between them, and a text of sentences; one of them may be empty.
    package var tags = ""
    package var text = ""
    /// Tags of which the category is known, with commas between them: they are told apart by no list.
    package var fields: [TagCategory: String] = [:]
    /// The one task to do; nil for those that fit what there is.
    package var task: PromptTask?
    package var wishes = PromptPlan.Wishes()
    /// The picture's width divided by its height, which the model is told.
    package var aspectRatio: Double?
    package var form = PromptForm.standard
    /// See `BanList`.
    package var bans: [String] = []
    package var settings = PromptRun.Settings()

    package init() {}

    /// A request as tipo-kgen's web UI extension makes it: a text is made beside what is expanded if the form has a
    /// place that would stay empty.
    package init(tags: String, text: String, form: PromptForm = .standard) {
        self.tags = tags
        self.text = text
        self.form = form
        wishes.addsText =
            PythonText(text).stripped().isEmpty && form.mentions("extended") || form.mentions("generated")
    }
}

/// A prompt that the model made richer.
package struct UpsampledPrompt: Sendable {
    /// The finished prompt, in the request's form.
    package let prompt: String
    /// The special and general tags.
    package let tags: [String]
    /// The text: what was there, made longer, or what was made from tags.
    package let text: String
    /// Everything that the last operation gave, by section.
    package let sections: ParsedPrompt
    /// What the model was asked and what it answered.
    package let passes: [PromptRun.Pass]
}

/// TIPO: makes rich prompts of short ones with a language model that was trained for it.
/// Yeh et al., "TIPO: Text to Image with Text Presampling for Prompt Optimization" (2024); the results for given texts
/// of the model are those of tipo-kgen 0.3.1.
package struct Upsampler {
    private let completer: any PromptCompleter
    private let lists: TagLists

    package init(completer: any PromptCompleter, lists: TagLists = TagLists()) {
        self.completer = completer
        self.lists = lists
    }

    /// Throws a usage error for an empty prompt, a ban that is no pattern, and bans that leave no tag; and what the
    /// completer throws.
    package func upsample(_ request: UpsampleRequest) throws -> UpsampledPrompt {
        let prompts = try upsample([request])
        guard let prompt = prompts.first else {
            throw CalderaError("The prompt was not upsampled.")
        }
        return prompt
    }

    /// Upsamples several prompts, whose passes go through the model together.
    package func upsample(_ requests: [UpsampleRequest]) throws -> [UpsampledPrompt] {
        var runs = try requests.map(run)
        while true {
            let waiting = runs.indices.filter { runs[$0].pending != nil }
            if waiting.isEmpty { break }
            let outputs = try completer.complete(waiting.compactMap { runs[$0].pending })
            guard outputs.count == waiting.count else {
                throw CalderaError("The model answered \(outputs.count) of \(waiting.count) prompts.")
            }
            for (index, output) in zip(waiting, outputs) { try take(output, &runs[index]) }
        }
        return try zip(requests, runs).map(finished)
    }

    /// A prompt grows with each pass. Where the model has no room for it any more, it stays as it is; tipo-kgen goes on
    /// beyond the model's context.
    private func take(_ output: String, _ run: inout PromptRun) throws {
        run.take(output)
        if let next = run.pending, try !completer.hasRoom(for: next.prompt) { run.stop() }
    }

    private func run(_ request: UpsampleRequest) throws -> PromptRun {
        let tags = routed(request)
        let text = PythonText(request.text)
        guard !text.stripped().isEmpty || tags.contains(where: { !$0.tags.isEmpty }) else {
            throw CalderaError.usage("The prompt is empty: give a few tags or a sentence to upsample.")
        }
        let map = TagMap(tags)
        let plan =
            if let task = request.task {
                PromptPlan(map, text: text, task: task, wishes: request.wishes, aspectRatio: request.aspectRatio)
            } else {
                PromptPlan(map, text: text, wishes: request.wishes, aspectRatio: request.aspectRatio)
            }
        let bans = try BanList(request.bans)
        return PromptRun(plan, lists: lists, bans: bans, settings: request.settings)
    }

    private func finished(_ request: UpsampleRequest, _ run: PromptRun) throws -> UpsampledPrompt {
        let sections = run.passes.isEmpty ? untouched(request) : run.result
        let extended = sections.text("extended")
        if run.bannedCount > 0, sections.tags("tag").isEmpty, sections.mainTags.isEmpty, extended.isEmpty {
            throw CalderaError.usage(
                "The bans \(request.bans.joined(separator: ", ")) leave no tag: make them narrower.")
        }
        return UpsampledPrompt(
            prompt: request.form.apply(sections).string, tags: sections.mainTags.map(\.string),
            text: (extended.isEmpty ? sections.text("generated") : extended).string, sections: sections,
            passes: run.passes)
    }

    /// The sections of a request of which nothing is to be made.
    private func untouched(_ request: UpsampleRequest) -> ParsedPrompt {
        var sections = ParsedPrompt()
        for (category, tags) in routed(request) {
            sections[PythonText(category.rawValue)] = .tags(tags)
        }
        sections["extended"] = .text(PythonText(request.text).stripped())
        return sections
    }

    /// The request's tags by category: those that the lists tell apart, then its fields'.
    private func routed(_ request: UpsampleRequest) -> [(category: TagCategory, tags: [PythonText])] {
        lists.route(PythonText(request.tags).split(",")).map { category, tags in
            let field = PythonText(request.fields[category] ?? "").split(",").map { $0.stripped() }
            return (category, tags + field.filter { !$0.isEmpty })
        }
    }
}
