import CalderaGraph
import CalderaLanguage
import CalderaModels
import CalderaTestSupport
import Testing

/// How texts end, and what is refused.
@Suite struct GenerationTests {
    private func language(context: Int = 20, chunk: Int = 4) throws -> (GoldenLanguageModel, LanguageModel) {
        let model = try GoldenLanguageModel("plain")
        let language = try LanguageDevice.cpuFP32.withBackend {
            try model.languageModel($0, .fp32, context: context, chunk: chunk)
        }
        return (model, language)
    }

    private func sampling(_ count: Int, least: Int = 0) -> TokenSampling {
        var sampling = TokenSampling()
        sampling.maxNewTokens = count
        sampling.minNewTokens = least
        return sampling
    }

    @Test func aTextEndsWithTheContext() throws {
        let (model, language) = try language()
        let prompt = Array(model.ids.prefix(15))
        let result = try language.generate(prompts: [prompt], sampling: sampling(50, least: 50), seeds: [0])
        #expect(result[0].ids.count == 5)
        #expect(result[0].end == .context)
    }

    @Test func aTextEndsAtItsLength() throws {
        let (model, language) = try language()
        let result = try language.generate(
            prompts: [[1], Array(model.ids.prefix(9))], sampling: sampling(3, least: 3), seeds: [0, 0])
        #expect(result.map(\.ids.count) == [3, 3])
        #expect(result.map(\.end) == [.length, .length])
    }

    @Test func aTextEndsWhereTheModelSaysSo() throws {
        let model = try GoldenLanguageModel("plain")
        let run = try #require(model.runs.first { !$0.isGreedy && $0.ids.last == 2 })
        try LanguageDevice.cpuFP32.withBackend { backend in
            let language = try model.languageModel(backend, .fp32)
            let result = try language.generate(
                prompts: [run.prompt], sampling: run.settings, seeds: [try #require(run.sampling.seed)])
            #expect(result[0] == GeneratedTokens(ids: run.ids, end: .endOfText))
        }
    }

    /// One text is stopped by its reader; the other goes on, and every token was told as it came.
    @Test func theReaderEndsATextAlone() throws {
        let (_, language) = try language()
        var told: [[Int32]] = [[], []]
        let result = try language.generate(
            prompts: [[1], [1, 5]], sampling: sampling(6, least: 6), seeds: [0, 0]
        ) { row, id in
            told[row].append(id)
            return row == 1 || told[0].count < 2
        }
        #expect(result.map(\.ids) == told)
        #expect(result.map(\.ids.count) == [2, 6])
        #expect(result.map(\.end) == [.stopped, .length])
    }

    @Test func anErrorOfTheReaderEndsTheCall() throws {
        struct Interrupted: Error {}
        let (_, language) = try language()
        var count = 0
        #expect(throws: Interrupted.self) {
            try language.generate(prompts: [[1]], sampling: sampling(9, least: 9), seeds: [0]) { _, _ in
                count += 1
                if count == 3 { throw Interrupted() }
                return true
            }
        }
        #expect(count == 3)
    }

    @Test func badRequestsAreRefused() throws {
        let (model, language) = try language()
        func message(_ prompt: [Int32], _ change: (inout TokenSampling) -> Void = { _ in }, seeds: Int = 1) -> String {
            var sampling = TokenSampling()
            change(&sampling)
            do {
                _ = try language.generate(
                    prompts: [prompt], sampling: sampling, seeds: Array(repeating: 0, count: seeds))
                return ""
            } catch {
                return "\(error)"
            }
        }
        #expect(message([]).contains("without a token"))
        #expect(message(model.ids).contains("24 tokens, which leaves no room in a context of 20"))
        #expect(message([1, 97]).contains("no token 97"))
        #expect(message([1, -1]).contains("no token -1"))
        #expect(message([1], seeds: 2).contains("1 prompts need as many seeds"))
        #expect(message([1]) { $0.temperature = 0 }.contains("temperature is 0.0"))
        #expect(message([1]) { $0.topK = 0 }.contains("top-k is 0"))
        #expect(message([1]) { $0.topP = 1.5 }.contains("top-p is 1.5"))
        #expect(message([1]) { $0.minP = -1 }.contains("min-p is -1.0"))
        #expect(message([1]) { $0.repetitionPenalty = 0 }.contains("repetition penalty is 0.0"))
        #expect(message([1]) { $0.maxNewTokens = 0 }.contains("number of new tokens is 0"))
        #expect(throws: CalderaError.self) {
            try LanguageDevice.cpuFP32.withBackend { try model.languageModel($0, .fp32, context: 257) }
        }
        #expect(throws: CalderaError.self) {
            try LanguageParts(
                config: model.config, weights: model.weights, tokenizer: NumberTokenizer(count: 98), name: "plain")
        }
    }
}
