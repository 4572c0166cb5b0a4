import Foundation

/// What the model is asked for one after the other, and what it is told.
///
/// The text of a pass is `key: value` lines for the meta fields, a line `target:` with the length's and the task's
/// tokens, and the sections of the task.
/// Reference: tipo-kgen, `apply_tipo_prompt`, `tipo_single_request` and `parse_tipo_request`.
package struct PromptPlan: Sendable {
    package struct Operation: Sendable, Equatable {
        package let task: PromptTask
        package let length: TargetLength
        /// Whether the model goes on with the last section that is there, or starts the task's last one.
        package let expands: Bool

        package init(_ task: PromptTask, _ length: TargetLength, expands: Bool) {
            self.task = task
            self.length = length
            self.expands = expands
        }
    }

    /// What is wanted of tags and text.
    package struct Wishes: Sendable {
        package var expandsTags = true
        package var expandsText = true
        /// Whether a text is made beside what is expanded.
        package var addsText = true
        /// Of tags and text both, which is expanded first.
        package var tagsFirst = true
        package var tagLength = TargetLength.long
        package var textLength = TargetLength.long
        /// Whether the model is told the quality tags.
        package var tellsQuality = true

        package init() {}
    }

    /// Meta fields in their order, those without a value left out.
    package private(set) var meta: [(key: String, value: PythonText)] = []
    package let operations: [Operation]
    /// Special and general tags.
    package let tags: PythonText
    package let text: PythonText

    /// The operations that fit what there is.
    package init(_ tagMap: TagMap, text: PythonText, wishes: Wishes, aspectRatio: Double? = nil) {
        let tags = Self.mainTags(tagMap)
        self.init(
            tagMap, text: text, wishes: wishes, aspectRatio: aspectRatio,
            operations: Self.operations(hasTags: !tags.stripped().isEmpty, hasText: !text.stripped().isEmpty, wishes))
    }

    /// One operation for one task.
    package init(_ tagMap: TagMap, text: PythonText, task: PromptTask, wishes: Wishes, aspectRatio: Double? = nil) {
        let length = task == .tag || task.target == "tag" ? wishes.tagLength : wishes.textLength
        self.init(
            tagMap, text: text, wishes: wishes, aspectRatio: aspectRatio,
            operations: [Operation(task, length, expands: true)])
    }

    private init(
        _ tagMap: TagMap, text: PythonText, wishes: Wishes, aspectRatio: Double?, operations: [Operation]
    ) {
        self.operations = operations
        tags = Self.mainTags(tagMap)
        self.text = text
        var fields: [(String, PythonText)] = [
            ("meta", tagMap[.meta].joined(", ")),
            ("rating", tagMap[.rating].joined(", ")),
            ("artist", tagMap[.artist].joined(", ").stripped()),
            ("characters", tagMap[.characters].joined(", ").stripped()),
            ("copyrights", tagMap[.copyrights].joined(", ").stripped()),
        ]
        if wishes.tellsQuality { fields.append(("quality", tagMap[.quality].joined(", "))) }
        if let aspectRatio { fields.append(("aspect_ratio", PythonText(String(format: "%.1f", aspectRatio)))) }
        meta = fields.filter { !$0.1.isEmpty }
    }

    private static func mainTags(_ tagMap: TagMap) -> PythonText {
        (tagMap[.special] + tagMap[.general]).joined(", ").stripped().stripped(of: ",")
    }

    private static func operations(hasTags: Bool, hasText: Bool, _ wishes: Wishes) -> [Operation] {
        let (tagLength, textLength) = (wishes.tagLength, wishes.textLength)
        let shortToTagToLong = Operation(.shortToTagToLong, textLength, expands: false)
        let tagToShortToLong = Operation(.tagToShortToLong, textLength, expands: false)
        var operations: [Operation]
        var extra = shortToTagToLong
        switch (hasTags, hasText, wishes.expandsTags, wishes.expandsText) {
        case (false, false, _, _):
            operations = [Operation(.tag, tagLength, expands: true)]
            extra = Operation(.tagToLong, textLength, expands: true)
        case (true, false, let expands, _):
            operations = expands ? [Operation(.tag, tagLength, expands: true)] : []
            extra = Operation(.tagToLong, textLength, expands: false)
        case (false, true, _, let expands):
            operations = [Operation(.longToTag, tagLength, expands: expands)]
        case (true, true, false, false): operations = []
        case (true, true, true, false):
            operations = [Operation(.shortToTag, tagLength, expands: true), shortToTagToLong]
        case (true, true, false, true):
            operations = [Operation(.tagToLong, tagLength, expands: true), tagToShortToLong]
            extra = tagToShortToLong
        case (true, true, true, true):
            operations = [
                wishes.tagsFirst
                    ? Operation(.shortToTag, tagLength, expands: true)
                    : Operation(.tagToLong, textLength, expands: true),
                wishes.tagsFirst
                    ? Operation(.tagToLong, textLength, expands: true)
                    : Operation(.longToTag, tagLength, expands: true),
            ]
            extra = wishes.tagsFirst ? shortToTagToLong : tagToShortToLong
        }
        return operations + (wishes.addsText ? [extra] : [])
    }

    /// What the model is given to go on with.
    ///
    /// - Parameter makesMeta: whether it is asked for meta fields as well.
    package func prompt(_ operation: Operation, tags: PythonText, text: PythonText, makesMeta: Bool) -> PythonText {
        let task = operation.task
        var content: [String: PythonText] = ["tag": tags]
        if !text.isEmpty { content[task.contains("short") ? "short" : "long"] = text }
        var prompt = PythonText()
        for (key, value) in meta { prompt += PythonText("\(key): ") + value + "\n" }
        prompt += PythonText("target: <|\(operation.length.rawValue)|>")
        if task != .tag { prompt += PythonText(" <|\(task.rawValue)|>") }
        prompt += makesMeta ? " <|gen_meta|>\n" : "\n"
        let sections = task.sections
        for (index, key) in sections.enumerated() {
            if let value = content[key], !value.stripped().isEmpty {
                prompt += PythonText("\(key): ") + value + "\n"
            } else if index < sections.count - 1 {
                prompt += PythonText("\(key): \n")
            }
        }
        return operation.expands ? prompt.stripped() : prompt + PythonText("\(task.target):")
    }
}

/// Tags by category.
package struct TagMap: Sendable {
    private var tags: [TagCategory: [PythonText]]

    package init(_ routed: [(category: TagCategory, tags: [PythonText])]) {
        tags = Dictionary(routed.map { ($0.category, $0.tags) }) { $0 + $1 }
    }

    package subscript(_ category: TagCategory) -> [PythonText] { tags[category] ?? [] }
}
