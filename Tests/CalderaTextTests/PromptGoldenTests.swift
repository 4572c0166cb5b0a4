import CalderaGraph
import CalderaTestSupport
import CalderaText
import Foundation
import Testing

/// `Fixtures/prompts.json`, which Tools/goldens/prompts.py makes.
private struct Golden: Decodable {
    struct Attention: Decodable {
        let text: String
        let runs: [Pair]
    }

    struct Schedule: Decodable {
        let text: String
        let steps: Int
        let entries: [Entry]
    }

    struct Chunked: Decodable {
        struct Chunk: Decodable {
            let ids: [Int32]
            let weights: [Double]
        }

        let text: String
        let chunks: [Chunk]
    }

    struct Plain: Decodable {
        struct Truncated: Decodable {
            let text: String
            let rest: String?
        }

        struct Triggers: Decodable {
            let text: String
            let ids: [Int32]
        }

        let truncated: [Truncated]
        let triggers: [Triggers]
    }

    struct Embedding: Decodable {
        let trigger: String
        let ids: [Int32]
    }

    /// ["text", 1.1]
    struct Pair: Decodable {
        let run: WeightedText

        init(from decoder: any Decoder) throws {
            var values = try decoder.unkeyedContainer()
            run = WeightedText(try values.decode(String.self), try values.decode(Double.self))
        }
    }

    /// [3, "text"]
    struct Entry: Decodable {
        let entry: PromptSchedule.Entry

        init(from decoder: any Decoder) throws {
            var values = try decoder.unkeyedContainer()
            entry = PromptSchedule.Entry(lastStep: try values.decode(Int.self), text: try values.decode(String.self))
        }
    }

    /// ["text", "text without its weight", 1.2]
    struct Composition: Decodable {
        let whole: String
        let text: String
        let factor: Double

        init(from decoder: any Decoder) throws {
            var values = try decoder.unkeyedContainer()
            whole = try values.decode(String.self)
            text = try values.decode(String.self)
            factor = try values.decode(Double.self)
        }
    }

    let attention: [Attention]
    let schedules: [Schedule]
    let compositions: [Composition]
    let chunks: [Chunked]
    let chunks2: [Chunked]
    let plain: Plain
    let embeddings: [Embedding]

    static func load() throws -> Golden {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        return try decoder.decode(
            Golden.self, from: Data(contentsOf: TestPaths.fixture("prompts.json", of: "CalderaTextTests")))
    }

    var tokens: [TextualInversionToken] {
        embeddings.map { TextualInversionToken(trigger: $0.trigger, ids: $0.ids) }
    }
}

private func tokenizer(_ name: String = "tokenizer") throws -> CLIPTokenizer {
    try CLIPTokenizer(folder: TestPaths.embeddedModel.appendingPathComponent(name))
}

/// How prompts are read, against an implementation of the web UI's rules by other means and against diffusers.
@Suite struct PromptGoldenTests {
    @Test func attentionIsTheWebUIs() throws {
        let golden = try Golden.load().attention
        #expect(golden.count >= 200)
        for item in golden {
            // Weights too are equal to the last bit.
            #expect(try PromptAttention.parse(item.text) == item.runs.map(\.run), "\(item.text.debugDescription)")
        }
    }

    @Test func schedulesAreTheWebUIs() throws {
        let golden = try Golden.load().schedules
        #expect(golden.count >= 200)
        for item in golden {
            let entries = try PromptSchedule.entries(item.text, steps: item.steps)
            #expect(entries == item.entries.map(\.entry), "\(item.text.debugDescription) in \(item.steps)")
        }
    }

    @Test func weightsBehindPromptsAreTheWebUIs() throws {
        for item in try Golden.load().compositions {
            let prompt = try WebUIPrompt(item.whole)
            #expect(prompt.text == item.text, "\(item.whole.debugDescription)")
            #expect(prompt.guidanceFactor == item.factor, "\(item.whole.debugDescription)")
        }
    }

    @Test func chunksAreTheWebUIs() throws {
        let golden = try Golden.load()
        let first = try tokenizer().adding(Array(golden.tokens.prefix(3)))
        let second = try tokenizer("tokenizer_2")
        for (items, tokenizer) in [(golden.chunks, first), (golden.chunks2, second)] {
            #expect(items.contains { $0.chunks.count >= 3 })
            for item in items {
                let chunks = try tokenizer.webUIChunks(item.text)
                #expect(chunks.map(\.ids) == item.chunks.map(\.ids), "\(item.text.debugDescription)")
                #expect(
                    chunks.map(\.weights) == item.chunks.map { $0.weights.map { Float($0) } },
                    "\(item.text.debugDescription)")
            }
        }
    }

    @Test func triggersUnderPlainSyntaxAreThoseOfDiffusers() throws {
        let golden = try Golden.load()
        let tokenizer = try tokenizer().adding(golden.tokens)
        #expect(tokenizer.vocabularySize == 49416)
        for item in golden.plain.triggers {
            #expect(tokenizer.tokens(item.text).ids == item.ids, "\(item.text)")
        }
    }

    @Test func triggersWithCapitalsAreSpelledOut() throws {
        let tokenizer = try tokenizer().adding([TextualInversionToken(trigger: "Word", ids: [49408, 49409])])
        #expect(tokenizer.tokens("a Word b").ids.prefix(6) == [49406, 320, 49408, 49409, 321, 49407])
        #expect(tokenizer.tokens("a word b").ids.prefix(5) == [49406, 320, 49408, 321, 49407])
    }

    @Test func truncatedTextIsThatOfDiffusers() throws {
        let tokenizer = try tokenizer()
        for item in try Golden.load().plain.truncated {
            #expect(tokenizer.truncatedText(item.text) == item.rest, "\(item.text)")
        }
    }
}

@Suite struct PromptErrorTests {
    @Test(arguments: [
        ("(a:1.2.3)", "The prompt has the weight \":1.2.3)\", which is no number"),
        ("(a:.)", "which is no number"), ("(a:\(String(repeating: "9", count: 400)))", "which is no number"),
    ])
    func weightsThatAreNoNumbers(prompt: String, message: String) {
        let error = #expect(throws: CalderaError.self) { try PromptAttention.parse(prompt) }
        #expect(error?.kind == .usage)
        #expect(error?.message.contains(message) == true, "\(error?.message ?? "")")
    }

    @Test func composedPromptsAreRefused() throws {
        let error = #expect(throws: CalderaError.self) { try WebUIPrompt("a cat AND a dog :1.2") }
        #expect(error?.kind == .usage)
        #expect(try WebUIPrompt("a SAND and ANDY").text == "a SAND and ANDY")
    }

    @Test(arguments: ["(", "["]) func deepBracketsAreRefused(bracket: String) {
        let prompt = String(repeating: bracket, count: 100_000)
        let error = #expect(throws: CalderaError.self) { try PromptSchedule.entries(prompt, steps: 10) }
        #expect(error?.kind == .usage)
    }

    /// Reading the same group again and again would take minutes here.
    @Test(arguments: ["[a|(b) ", "(a:b:[c] ", "[a:3 ", "[a:[b:c:2] ", "a:  (b:1 "]) func timeGrowsWithTheLength(
        unit: String
    ) throws {
        let prompt = String(repeating: String(repeating: unit, count: 50) + "] ) | ", count: 200)
        let time = try ContinuousClock().measure {
            _ = try? PromptSchedule.entries(prompt, steps: 3)
            _ = try PromptAttention.parse(prompt)
        }
        #expect(time < .seconds(20))
    }

    @Test func embeddingsThatDoNotFitAreNamed() throws {
        let tokenizer = try tokenizer()
        let base = Int32(tokenizer.vocabularySize)
        let cases: [([TextualInversionToken], String)] = [
            ([TextualInversionToken(trigger: "", ids: [base])], "no name"),
            ([TextualInversionToken(trigger: "x", ids: [])], "no vectors"),
            ([TextualInversionToken(trigger: "x", ids: [5])], "belong to other tokens"),
            (
                [
                    TextualInversionToken(trigger: "x", ids: [base, base + 1]),
                    TextualInversionToken(trigger: "x_1", ids: [base + 2]),
                ], "Two embeddings are called \"x_1\""
            ),
        ]
        for (tokens, message) in cases {
            let error = #expect(throws: CalderaError.self) { try tokenizer.adding(tokens) }
            #expect(error?.message.contains(message) == true, "\(error?.message ?? "")")
        }
        let large = try tokenizer.adding([TextualInversionToken(trigger: "x", ids: Array(base..<base + 76))])
        let error = #expect(throws: CalderaError.self) { try large.webUIChunks("a x") }
        #expect(error?.message.contains("76 vectors") == true)
    }
}
