/// What is kept of what the model wrote, beside what there was before.
/// Reference: tipo-kgen, `post_generate_process` and `retry_criteria`.
struct PromptMerge {
    let tags: PythonText
    let text: PythonText
    let task: PromptTask
    let length: TargetLength

    /// Drops the texts that the task does not make and the tags that are banned; puts the general tags that there were
    /// first and the new ones in random order behind them, and likewise the sentences, of which the last stays last;
    /// and cuts both to what the length allows.
    func apply(to parsed: inout ParsedPrompt, bans: BanList, random: inout PythonRandom) {
        if !task.contains("long") { parsed["generated"] = nil }
        if !task.contains("short") { parsed["extended"] = nil }
        if !text.isEmpty, parsed.text("extended").stripped().isEmpty, let made = parsed.removeSection("generated") {
            parsed["extended"] = made
        }
        for (key, value) in parsed.sections {
            if case .tags(let tags) = value { parsed[key] = .tags(tags.filter { !bans.bans($0) }) }
        }
        let general = mergedTags(parsed, &random)
        let (kept, made) = mergedSentences(parsed, &random)
        parsed["general"] = .tags(general)
        parsed["extended"] = .text((kept + made).withoutRepeats().joined(". "))
        if parsed["generated"] != nil {
            let made = parsed.text("generated").items(".").filter { !kept.contains($0) }.prefix(length.mostSentences)
            if !made.isEmpty { parsed["generated"] = .text(Array(made).withoutRepeats().joined(". ")) }
        }
    }

    private func mergedTags(_ parsed: ParsedPrompt, _ random: inout PythonRandom) -> [PythonText] {
        let known = Set(tags.split(",").map { $0.stripped() })
        let kept = parsed.tags("general").filter { known.contains($0) }
        var made = parsed.tags("general").filter { !known.contains($0) }
        random.shuffle(&made)
        if kept.count + made.count > length.mostTags {
            // The reference's bound on tags is the one on sentences.
            made = Array(made.prefix(max(length.mostSentences - kept.count, 0)))
        }
        return (kept + made).withoutRepeats()
    }

    /// The sentences that there were, the last perhaps finished, and the new ones.
    private func mergedSentences(
        _ parsed: ParsedPrompt, _ random: inout PythonRandom
    ) -> (kept: [PythonText], made: [PythonText]) {
        var kept = text.items(".")
        var made = parsed.text("extended").items(".").filter { !kept.contains($0) }
        // The first new sentence may be the last old one, finished.
        if let last = kept.last, let first = made.first, first.contains(last) {
            kept[kept.count - 1] = first
            made.removeFirst()
        }
        if let last = made.popLast() {
            random.shuffle(&made)
            made.append(last)
        }
        if kept.count + made.count > length.mostSentences {
            made = Array(made.prefix(max(length.mostSentences - kept.count, 0)))
        }
        return (kept, made)
    }

    /// Whether there is as much as the length asks for, and not absurdly much.
    func isEnough(_ parsed: ParsedPrompt) -> Bool {
        func parts(_ section: PythonText) -> Int { parsed.text(section).split(".").count }
        return switch task.target {
        case "tag": (length.leastTags...1000).contains(parsed.mainTags.count)
        case "long" where parsed["generated"] != nil: (length.leastSentences...1000).contains(parts("generated"))
        default: (length.leastSentences...1000).contains(parts("extended"))
        }
    }
}
