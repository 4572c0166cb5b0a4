import CalderaGraph
import CalderaLanguage
import CalderaModels
import CalderaTestSupport
import Testing

/// Language models against transformers.
@Suite(.serialized) struct LlamaGoldenTests {
    static let models = GoldenLanguageModel.small + [GoldenLanguageModel.embedded]
    static let cases = models.flatMap { model in LanguageDevice.available.map { (model, $0) } }

    /// Prompts of several lengths in pieces of 7 tokens, then the rest of the text token by token.
    @Test("Logits equal transformers'", arguments: cases)
    func logits(name: String, device: LanguageDevice) throws {
        let model = try GoldenLanguageModel(name)
        try device.withBackend { backend in
            let plan = try LanguagePlan(
                Llama(model.config), weights: model.weights, backend: backend, precision: device.precision, batch: 1,
                context: 32, chunk: 7)
            for length in [1, 6, 7, 8, 24] {
                let found = try plan.begin([Array(model.ids.prefix(length))])
                expect(found, model, behind: length - 1, device, "prompt")
            }
            _ = try plan.begin([Array(model.ids.prefix(3))])
            for index in 3..<model.ids.count {
                let found = try plan.step([(id: model.ids[index], position: index)], active: [0])
                expect(found, model, behind: index, device, "step")
            }
        }
    }

    private func expect(
        _ found: [ArraySlice<Float>], _ model: GoldenLanguageModel, behind index: Int, _ device: LanguageDevice,
        _ stage: String
    ) {
        let error = relativeL2(
            HostTensor([1, model.config.vocabularySize], Array(found[0])), model.logits(behind: index))
        #expect(error <= device.bound, "\(model.name) \(stage), token \(index): relative error \(error)")
    }

    @Test("Greedy tokens equal transformers', 200 of them", arguments: models)
    func greedy(name: String) throws {
        let model = try GoldenLanguageModel(name)
        try LanguageDevice.cpuFP32.withBackend { backend in
            let language = try model.languageModel(backend, .fp32)
            for run in model.runs where run.isGreedy {
                let result = try language.generate(prompts: [run.prompt], sampling: run.settings, seeds: [0])
                #expect(result.map(\.ids) == [run.ids])
            }
        }
    }

    @Test("Drawn tokens equal transformers' of the same seed", arguments: models)
    func sampled(name: String) throws {
        let model = try GoldenLanguageModel(name)
        try LanguageDevice.cpuFP32.withBackend { backend in
            let language = try model.languageModel(backend, .fp32)
            for run in model.runs where !run.isGreedy {
                let seed = try #require(run.sampling.seed)
                let result = try language.generate(prompts: [run.prompt], sampling: run.settings, seeds: [seed])
                #expect(result.map(\.ids) == [run.ids], "\(run.sampling)")
            }
        }
    }

    /// Prompts of different lengths and seeds, in one pass and each alone, on every device.
    @Test("Texts of a batch are those that each would be alone", arguments: LanguageDevice.available)
    func batches(device: LanguageDevice) throws {
        let model = try GoldenLanguageModel("grouped")
        let prompts = [Array(model.ids.prefix(3)), model.ids, Array(model.ids.prefix(1)), Array(model.ids.suffix(9))]
        var sampling = TokenSampling()
        sampling.temperature = 0.8
        sampling.maxNewTokens = 12
        let seeds: [UInt64] = [1, 2, 3, 4]
        try device.withBackend { backend in
            let language = try model.languageModel(backend, device.precision, context: 64, chunk: 8)
            let together = try language.generate(prompts: prompts, sampling: sampling, seeds: seeds)
            let alone = try zip(prompts, seeds).flatMap {
                try language.generate(prompts: [$0], sampling: sampling, seeds: [$1])
            }
            #expect(together == alone)
            let inTurns = try model.languageModel(backend, device.precision, context: 64, chunk: 8, largestBatch: 3)
            #expect(try inTurns.generate(prompts: prompts, sampling: sampling, seeds: seeds) == alone)
        }
    }
}
