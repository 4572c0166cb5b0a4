import CalderaGraph
import CalderaTIPO
import CalderaTestSupport
import Foundation
import Testing

private func lines(_ sections: [(key: PythonText, value: ParsedPrompt.Value)]) -> [String] {
    sections.map { "\($0.key): \(escaped($0.value))" }
}

private func lines(_ sections: [TIPOGolden.Section]) -> [String] {
    sections.map { "\($0.key): \(escaped($0.value))" }
}

/// With every scalar visible: texts that only look alike differ.
private func escaped(_ value: ParsedPrompt.Value) -> String {
    switch value {
    case .tags(let tags): "\(tags.map { escaped($0.string) })"
    case .text(let text): escaped(text.string)
    }
}

private func escaped(_ text: String) -> String { text.unicodeScalars.map { $0.escaped(asASCII: true) }.joined() }

@Suite struct TIPOGoldenTests {
    @Test func wholeRunsEqualTheReference() throws {
        let golden = try TIPOGolden.load()
        let lists = try golden.tagLists()
        #expect(golden.runs.count >= 200)
        for (number, run) in golden.runs.enumerated() {
            let model = CannedModel(run.answers)
            let upsampler = Upsampler(completer: model, lists: run.hasLists ? lists : TagLists())
            let result: UpsampledPrompt
            do {
                result = try upsampler.upsample(run.request())
            } catch let error as CalderaError {
                // The reference does without an error for bans that leave nothing.
                #expect(error.kind == .usage && !run.bans.isEmpty, "run \(number): \(error.message)")
                #expect(run.leavesNoTag, "run \(number)")
                continue
            }
            let calls = result.passes.map { [$0.request.seed, TIPOGolden.sum($0.request.prompt)] }
            #expect(calls == run.calls, "run \(number)")
            #expect(lines(result.sections.sections) == lines(run.sections), "run \(number)")
            #expect(escaped(result.prompt) == escaped(run.prompt), "run \(number)")
        }
    }

    @Test func oddOutputsAreReadAsTheReferenceDoes() throws {
        let golden = try TIPOGolden.load()
        let lists = try golden.tagLists()
        for item in golden.parses {
            let parsed = ParsedPrompt(text: PythonText(item.output), lists: lists)
            #expect(lines(parsed.sections) == lines(item.sections), "\(escaped(item.output))")
            for (form, prompt) in zip(golden.forms, item.prompts) {
                let found = PromptForm(form).apply(parsed).string
                #expect(escaped(found) == escaped(prompt), "\(escaped(form)) on \(escaped(item.output))")
            }
        }
    }

    @Test func promptsEqualTheReference() throws {
        let golden = try TIPOGolden.load()
        let tagMap = TagMap([(.meta, ["highres"]), (.quality, ["masterpiece"])])
        let plan = PromptPlan(tagMap, text: "", wishes: .init(), aspectRatio: 1.26)
        for item in golden.prompts {
            let operation = PromptPlan.Operation(try PromptTask(named: item.mode), .short, expands: item.expands)
            let prompt = plan.prompt(
                operation, tags: PythonText(item.tags), text: PythonText(item.text), makesMeta: item.expands)
            #expect(escaped(prompt.string) == escaped(item.prompt), "\(item.mode) \(item.expands)")
        }
    }

    @Test func namedFormsAreTheReferencesOwn() throws {
        let golden = try TIPOGolden.load()
        #expect(PromptForm.named.map { $0.form.template.string } == golden.defaultForms)
        #expect(PromptForm.standard.template.string == golden.defaultForms[2])
    }

    @Test func randomNumbersAreThoseOfPython() throws {
        for item in try TIPOGolden.load().random {
            var random = PythonRandom(seed: item.seed)
            var items = Array(0..<40)
            random.shuffle(&items)
            #expect(items == item.items, "seed \(item.seed)")
            #expect(item.numbers.map { _ in random.integer(through: 1 << 32) } == item.numbers, "seed \(item.seed)")
            let more = (0..<700).map { _ in random.integer(through: 9) }
            #expect(Array(more.suffix(5)) == item.more, "seed \(item.seed)")
        }
    }
}
