import CalderaDiffusion
import CalderaFormats
import CalderaGraph
import CalderaModels
import CalderaTestSupport
import CalderaText
import Foundation
import Testing

/// What the UNet is told of a prompt, against diffusers for plain prompts and against an implementation of the web UI's
/// rules on transformers' encoders for the others.
@Suite(.serialized) struct PromptEmbeddingTests {
    /// Every family on the processor; the other devices differ in how encoders compute, which one family with two of them
    /// shows.
    static let cases =
        TinyModel.families.map { ($0, TestDevice.cpuFP32) }
        + TestDevice.available.filter { $0 != .cpuFP32 }.map { ("sdxl", $0) }

    @Test("Embeddings of whole prompts equal the references'", arguments: cases)
    func embeddings(model: String, device: TestDevice) throws {
        let golden = try PromptGolden(model)
        #expect(golden.cases.count >= 13)
        let usual = try golden.parts(embeddings: false)
        let extended = try golden.parts(embeddings: true)
        try device.withBackend { backend in
            for item in golden.cases {
                let parts = item.embeddings ? extended : usual
                let plans = PipelinePlans(parts: parts, precision: device.precision, limits: backend.limits)
                let conditioning = try PromptEncoder(plans: plans, backend: backend).encode(item.request)
                try check(conditioning, item, golden, device)
            }
        }
    }

    private func check(
        _ conditioning: Conditioning, _ item: PromptGolden.Case, _ golden: PromptGolden, _ device: TestDevice
    ) throws {
        let name = "\(golden.name) \(item.name)"
        #expect(conditioning.segments.map(\.end) == item.ends, "\(name)")
        #expect(conditioning.guidanceFactor == item.guidanceFactor, "\(name)")
        for (number, segment) in conditioning.segments.enumerated() {
            let negative = try #require(segment.negative)
            for (side, embedding) in [("positive", segment.positive), ("negative", negative)] {
                #expect(embedding.tokens == conditioning.tokens)
                for (part, values) in [("context", embedding.context), ("pooled", embedding.pooled)] {
                    guard let reference = try golden.tensor("\(item.name).\(number).\(side).\(part)", values.count)
                    else {
                        #expect(values.isEmpty, "\(name) \(side) \(part)")
                        continue
                    }
                    let error = relativeL2(HostTensor([values.count], values), reference)
                    #expect(error <= device.networkBound, "\(name) \(number) \(side) \(part): relative error \(error)")
                }
            }
        }
    }

    @Test("CLIP skip out of range is bad usage", arguments: TinyModel.families, PromptSyntax.allCases)
    func skipOutOfRange(model: String, syntax: PromptSyntax) throws {
        let encoder = try encoder(model)
        let least = syntax == .plain ? 0 : 1
        let most = syntax == .plain && ["sdxl", "refiner"].contains(model) ? 2 : 3
        for skip in [least - 1, most + 1] {
            let request = ConditioningRequest(
                prompt: "a", negativePrompt: nil, isGuided: false, syntax: syntax, clipSkip: skip, steps: 1)
            let error = #expect(throws: CalderaError.self) { try encoder.encode(request) }
            #expect(error?.kind == .usage)
            #expect(error?.message.contains("takes \(least) to \(most)") == true, "\(error?.message ?? "")")
        }
    }

    @Test("What is left out or without effect is said") func warnings() throws {
        let long = String(repeating: "red ", count: 80)
        var request = ConditioningRequest(prompt: long, negativePrompt: long, isGuided: true, steps: 1)
        let plain = try encoder("sdxl").encode(request)
        #expect(plain.warnings.count == 2)
        #expect(plain.warnings[0].hasSuffix("this was left out: red red red red red"))
        request.syntax = .webui
        request.clipSkip = 2
        let webui = try encoder("sdxl").encode(request)
        #expect(webui.tokens == 154)
        #expect(
            webui.warnings == [
                "CLIP skip has no effect under the prompt syntax webui: it counts for Stable Diffusion 1 alone."
            ])
        #expect(try encoder("sd15").encode(request).warnings.isEmpty)
    }

    @Test("Unguided runs encode no negative prompt, and many texts take several batches") func segments() throws {
        let words = (0..<19).map { "w\($0)" }.joined(separator: "|")
        let request = ConditioningRequest(
            prompt: "[\(words)]", negativePrompt: "x", isGuided: false, syntax: .webui, steps: 20)
        let conditioning = try encoder("sd15").encode(request)
        // The first text holds for two evaluations, and in 20 the nineteenth comes last.
        #expect(conditioning.segments.map(\.end) == Array(2...20))
        #expect(conditioning.segments.allSatisfy { $0.negative == nil })
        #expect(conditioning.segment(at: 1).positive == conditioning.segments[0].positive)
        let single = ConditioningRequest(prompt: "w12", negativePrompt: nil, isGuided: false, steps: 1)
        let alone = try encoder("sd15").encode(single).segments[0].positive
        let error = relativeL2(
            HostTensor([alone.context.count], conditioning.segment(at: 13).positive.context),
            HostTensor([alone.context.count], alone.context))
        #expect(error < 1e-5)
        #expect(conditioning.segment(at: 12).positive != conditioning.segment(at: 13).positive)
    }

    private func encoder(_ model: String) throws -> PromptEncoder {
        let parts = try PromptGolden(model).parts(embeddings: false)
        let backend = NaiveBackend()
        return PromptEncoder(
            plans: PipelinePlans(parts: parts, precision: .fp32, limits: backend.limits), backend: backend)
    }
}

/// `Fixtures/prompts/<family>`, which Tools/goldens/prompt_embeddings.py makes.
struct PromptGolden {
    struct Case: Decodable {
        let name: String
        let prompt: String
        let negativePrompt: String?
        let syntax: String
        let clipSkip: Int?
        let steps: Int
        let embeddings: Bool
        let ends: [Int]
        let guidanceFactor: Double

        var request: ConditioningRequest {
            ConditioningRequest(
                prompt: prompt, negativePrompt: negativePrompt, isGuided: true,
                syntax: PromptSyntax(rawValue: syntax) ?? .plain, clipSkip: clipSkip, steps: steps)
        }
    }

    let name: String
    let cases: [Case]
    private let model: GoldenModel
    private let golden: GoldenFile

    private static let folder = TestPaths.repository.appending(path: "Tests/CalderaModelsTests/Fixtures/prompts")

    init(_ name: String) throws {
        self.name = name
        model = try GoldenModel(name)
        golden = try GoldenFile(Self.folder.appending(path: "\(name).safetensors"))
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        cases = try decoder.decode(
            [Case].self, from: Data(contentsOf: Self.folder.appending(path: "\(name).json")))
    }

    /// The tensor of that name as a row of `count`; nil where there is none.
    func tensor(_ name: String, _ count: Int) throws -> HostTensor? {
        guard golden.names(startingWith: name).contains(name) else { return nil }
        let values = try golden.tensor(name).floats
        return HostTensor(
            [values == [0] ? count : values.count], values == [0] ? [Float](repeating: 0, count: count) : values)
    }

    /// The family's parts, with the golden's embeddings in their encoders if these are wanted.
    func parts(embeddings: Bool) throws -> PipelineParts {
        let index = try JSONConfig(contentsOf: description("model_index.json").path)
        let scheduler = description("scheduler/scheduler_config.json").path
        return PipelineParts(
            family: try index.string("_class_name") == "StableDiffusionPipeline"
                ? .stableDiffusion : .stableDiffusionXL,
            encoders: try ["text_encoder", "text_encoder_2"].filter(model.has).map { try encoder($0, embeddings) },
            unet: UNet(try UNetConfig(model.config("unet"))), unetWeights: try model.weights("unet"),
            autoencoder: AutoencoderKL(try AutoencoderConfig(model.config("vae"))),
            autoencoderWeights: try model.weights("vae"),
            scheduler: try SchedulerConfig(json: ConfigFile.read(scheduler), path: scheduler),
            forceZerosForEmptyPrompt: try index.bool("force_zeros_for_empty_prompt", default: true))
    }

    private func description(_ file: String) -> URL { GoldenModel.fixtures.appending(path: "\(name)/\(file)") }

    private func encoder(_ part: String, _ embeddings: Bool) throws -> TextEncoderPart {
        let weights = try model.weights(part)
        let prefix = weights.info("text_model.final_layer_norm.weight") == nil ? "" : "text_model"
        let tokenizers = try JSONConfig(contentsOf: description("tokenizers.json").path)
        let folder = try tokenizers.string(part.replacingOccurrences(of: "text_encoder", with: "tokenizer"))
        let encoder = TextEncoderPart(
            name: part, model: CLIPText(try CLIPTextConfig(model.config(part)), prefix: prefix), weights: weights,
            tokenizer: try CLIPTokenizer(folder: TestPaths.embeddedModel.appending(path: folder)))
        guard embeddings else { return encoder }
        let table = "\(prefix.isEmpty ? "" : prefix + ".")embeddings.token_embedding.weight"
        let extended = try ExtendedTable(weights, table: table, rows: golden.tensor("embedding.\(part)"))
        let tokens = [
            TextualInversionToken(trigger: "<toy>", ids: [49408]),
            TextualInversionToken(trigger: "style-one", ids: [49409, 49410, 49411]),
        ]
        return try encoder.adding(tokens, weights: extended)
    }
}

/// Weights with further rows behind those of one table.
private final class ExtendedTable: WeightSource {
    let names: [String]
    private let base: any WeightSource
    private let table: String
    private let rows: HostTensor

    init(_ base: any WeightSource, table: String, rows: HostTensor) {
        (self.base, self.table, self.rows, names) = (base, table, rows, base.names)
    }

    func info(_ name: String) -> WeightInfo? {
        guard name == table, let info = base.info(name) else { return base.info(name) }
        return WeightInfo(dtype: info.dtype, shape: [info.shape[0] + rows.shape[0], info.shape[1]])
    }

    func withBytes<Result>(_ name: String, _ body: (UnsafeRawBufferPointer) throws -> Result) throws -> Result {
        guard name == table else { return try base.withBytes(name, body) }
        let bytes = try base.withBytes(name) { Array($0) } + rows.floats.withUnsafeBytes { Array($0) }
        return try bytes.withUnsafeBytes(body)
    }
}
