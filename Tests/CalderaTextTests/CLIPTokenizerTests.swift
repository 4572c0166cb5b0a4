import CalderaGraph
import CalderaTestSupport
import CalderaText
import Foundation
import Testing

private struct Golden: Decodable {
    struct Plain: Decodable {
        let text: String
        let tokenizer: [Int32]
        let tokenizer2: [Int32]

        enum CodingKeys: String, CodingKey {
            case text, tokenizer
            case tokenizer2 = "tokenizer_2"
        }
    }

    struct Setting: Decodable {
        struct Case: Decodable {
            let text: String
            let ids: [Int32]
            let padded: [Int32]
        }

        let name: String
        let files: [String: JSONText?]
        let cases: [Case]
    }

    let plain: [Plain]
    let padded: [Plain]
    let settings: [Setting]

    static func load() throws -> Golden {
        let data = try Data(contentsOf: TestPaths.fixture("clip_tokenizer.json", of: "CalderaTextTests"))
        return try JSONDecoder().decode(Golden.self, from: data)
    }
}

/// A JSON value that is written back to a file as it was.
private struct JSONText: Decodable {
    let data: Data

    init(from decoder: any Decoder) throws {
        let value = try JSONValue(from: decoder)
        data = try JSONSerialization.data(withJSONObject: Self.plain(value), options: .fragmentsAllowed)
    }

    private static func plain(_ value: JSONValue) -> Any {
        switch value {
        case .null: NSNull()
        case .bool(let bool): bool
        case .int(let int): int
        case .double(let double): double
        case .string(let string): string
        case .array(let items): items.map(plain)
        case .object(let members): members.mapValues(plain)
        }
    }
}

private func embedded(_ name: String) -> URL { TestPaths.embeddedModel.appendingPathComponent(name) }

/// A tokenizer folder with the embedded vocabulary and files of its own.
private func folder(_ files: [String: Data]) throws -> TemporaryFolder {
    let folder = try TemporaryFolder()
    for name in ["vocab.json", "merges.txt"] where files[name] == nil {
        let source = embedded("tokenizer").appendingPathComponent(name)
        try FileManager.default.createSymbolicLink(
            at: folder.url.appendingPathComponent(name), withDestinationURL: source)
    }
    for (name, data) in files { try folder.write(name, data) }
    return folder
}

@Suite struct CLIPTokenizerTests {
    @Test func hardStringsEqualTheReference() throws {
        let golden = try Golden.load()
        let first = try CLIPTokenizer(folder: embedded("tokenizer"))
        let second = try CLIPTokenizer(folder: embedded("tokenizer_2"))
        #expect(golden.plain.count >= 300)
        for item in golden.plain {
            #expect(first.encode(item.text) == item.tokenizer, "\(item.text.debugDescription.prefix(200))")
            #expect(second.encode(item.text) == item.tokenizer2, "\(item.text.debugDescription.prefix(200))")
        }
    }

    @Test func sequencesArePaddedAndCutAsTheReferenceDoes() throws {
        let golden = try Golden.load()
        let first = try CLIPTokenizer(folder: embedded("tokenizer"))
        let second = try CLIPTokenizer(folder: embedded("tokenizer_2"))
        #expect((first.pad, second.pad) == (49407, 0))
        for item in golden.padded {
            let (ids, end) = first.tokens(item.text)
            #expect(ids == item.tokenizer)
            #expect(end == item.tokenizer.firstIndex(of: 49407))
            #expect(second.tokens(item.text).ids == item.tokenizer2)
        }
    }

    @Test func settingsOfOtherFoldersAreObeyed() throws {
        for setting in try Golden.load().settings {
            let files = setting.files.compactMapValues { $0?.data }
            let folder = try folder(files)
            let tokenizer = try CLIPTokenizer(folder: folder.url)
            for item in setting.cases {
                #expect(tokenizer.encode(item.text) == item.ids, "\(setting.name): \(item.text)")
                #expect(tokenizer.tokens(item.text).ids == item.padded, "\(setting.name): \(item.text)")
            }
        }
    }

    /// Quadratic joining would take minutes here: the bound is far above what the machine needs, and far below that.
    @Test(arguments: ["x", "ab ", "é猫"])
    func timeGrowsWithTheLength(unit: String) throws {
        let tokenizer = try CLIPTokenizer(folder: embedded("tokenizer"))
        let text = String(repeating: unit, count: 300_000 / unit.count)
        let time = ContinuousClock().measure { #expect(!tokenizer.encode(text).isEmpty) }
        #expect(time < .seconds(30))
    }

    @Test func brokenFilesAreNamed() throws {
        let broken: [(file: String, text: String, message: String)] = [
            ("vocab.json", "{\"a\": ", "vocab.json is not a vocabulary"),
            ("vocab.json", "[1, 2]", "vocab.json is not a vocabulary"),
            ("vocab.json", "{\"a\": -1}", "negative id"),
            ("vocab.json", "{\"a\": 1}", "lacks the"),
            ("merges.txt", "#version: 0.2\ni n\nt h e\n", "merges.txt, line 3"),
            ("merges.txt", "i nowhere-to-be-found\n", "merges.txt, line 1"),
            ("tokenizer_config.json", "{\"model_max_length\": 1}", "model_max_length"),
            ("tokenizer_config.json", "{\"model_max_length\": \"x\"}", "model_max_length"),
            ("tokenizer_config.json", "nonsense", "tokenizer_config.json is not valid JSON"),
        ]
        for (file, text, message) in broken {
            let folder = try folder([file: Data(text.utf8)])
            let error = #expect(throws: CalderaError.self) { try CLIPTokenizer(folder: folder.url) }
            #expect(error?.message.contains(message) == true, "\(file): \(error?.message ?? "no error")")
        }
        let empty = try TemporaryFolder()
        let error = #expect(throws: CalderaError.self) { try CLIPTokenizer(folder: empty.url) }
        #expect(error?.message == "There is no file \(empty.path("vocab.json")).")
    }
}
