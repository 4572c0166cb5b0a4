import CalderaGraph
import CalderaTIPO
import CalderaTestSupport
import Foundation

/// What tipo-kgen gave; see Tools/goldens/tipo.py.
struct TIPOGolden: Decodable {
    struct Section: Decodable {
        let key: String
        let value: ParsedPrompt.Value

        init(from decoder: any Decoder) throws {
            var container = try decoder.unkeyedContainer()
            key = try container.decode(String.self)
            if let tags = try? container.decode([String].self) {
                value = .tags(tags.map { PythonText($0) })
            } else {
                value = .text(PythonText(try container.decode(String.self)))
            }
        }
    }

    struct Answer: Decodable {
        let kind: String
        let text: String

        init(from decoder: any Decoder) throws {
            var container = try decoder.unkeyedContainer()
            kind = try container.decode(String.self)
            text = try container.decode(String.self)
        }

        func output(_ prompt: String) -> String {
            switch kind {
            case "after": prompt + text
            case "wrapped": "<s> " + prompt + text + "</s>"
            default: text
            }
        }
    }

    struct Run: Decodable {
        let tags: String
        let text: String
        let expandsTags: Bool
        let expandsText: Bool
        let addsText: Bool
        let tagsFirst: Bool
        let tagLength: String
        let textLength: String
        let tellsQuality: Bool
        let makesMeta: Bool
        let seed: UInt64
        let aspectRatio: Double?
        let bans: [String]
        let form: String
        let maxRetry: Int
        let reseeds: Bool
        let hasLists: Bool
        let task: String?
        let answers: [Answer]
        /// The seed of each pass, and its prompt's FNV-1a.
        let calls: [[UInt64]]
        let sections: [Section]
        let prompt: String
    }

    struct Parse: Decodable {
        let output: String
        let sections: [Section]
        /// One for each form.
        let prompts: [String]
    }

    struct Prompt: Decodable {
        let mode: String
        let expands: Bool
        let tags: String
        let text: String
        let prompt: String
    }

    struct Random: Decodable {
        let seed: UInt64
        let numbers: [UInt64]
        let items: [Int]
        let more: [UInt64]
    }

    let lists: [String: [String]]
    let forms: [String]
    let defaultForms: [String]
    let runs: [Run]
    let parses: [Parse]
    let prompts: [Prompt]
    let random: [Random]

    static func load() throws -> TIPOGolden {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        return try decoder.decode(
            Self.self, from: try Data(contentsOf: TestPaths.fixture("tipo.json", of: "CalderaTIPOTests")))
    }

    /// The golden's tag lists, read from a folder.
    func tagLists() throws -> TagLists {
        let folder = try TemporaryFolder()
        for (name, tags) in lists { try folder.write("\(name).txt", tags.joined(separator: "\n") + "\n") }
        return try TagLists(folder: folder.url)
    }

    /// FNV-1a (32 bits) of a text's UTF-8.
    static func sum(_ text: String) -> UInt64 {
        UInt64(text.utf8.reduce(UInt32(0x811C_9DC5)) { ($0 ^ UInt32($1)) &* 0x0100_0193 })
    }
}

extension TIPOGolden.Run {
    /// Whether the reference ended without tags and without a text.
    var leavesNoTag: Bool {
        let wanted: Set = ["tag", "special", "general", "extended"]
        return sections.filter { wanted.contains($0.key) }.allSatisfy { section in
            section.value == .tags([]) || section.value == .text("")
        }
    }

    func request() throws -> UpsampleRequest {
        var request = UpsampleRequest()
        request.tags = tags
        request.text = text
        request.task = try task.map { try PromptTask(named: $0) }
        request.wishes.expandsTags = expandsTags
        request.wishes.expandsText = expandsText
        request.wishes.addsText = addsText
        request.wishes.tagsFirst = tagsFirst
        request.wishes.tagLength = try TargetLength(named: tagLength)
        request.wishes.textLength = try TargetLength(named: textLength)
        request.wishes.tellsQuality = tellsQuality
        request.aspectRatio = aspectRatio
        request.form = PromptForm(form)
        request.bans = bans
        request.settings.seed = seed
        request.settings.maxRetries = maxRetry
        request.settings.makesMeta = makesMeta
        request.settings.reseedsEachPass = reseeds
        return request
    }
}

/// A model that gives canned answers, several runs in turn.
final class CannedModel: PromptCompleter {
    private let answers: [TIPOGolden.Answer]
    private var count = 0

    init(_ answers: [TIPOGolden.Answer]) { self.answers = answers }

    func complete(_ prompts: [CompletionRequest]) throws -> [String] {
        prompts.map { request in
            defer { count += 1 }
            return answers[count % answers.count].output(request.prompt)
        }
    }
}
