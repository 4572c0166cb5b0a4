import CalderaGraph
import CalderaTestSupport
import CalderaText
import Foundation
import Testing

@Suite struct TokenizerFileErrorTests {
    private static let model =
        #"{"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2, "\u212b": 3, "\u00c5": 4}, "merges": ["a b"]}"#

    private func tokenizer(_ members: String, config: String? = nil) throws -> TokenizerFile {
        let json = #"{"model": \#(Self.model)\#(members.isEmpty ? "" : ", " + members)}"#
        return try TokenizerFile(json: Data(json.utf8), config: config.map { Data($0.utf8) })
    }

    private func message(_ body: () throws -> Void) -> String {
        let error = #expect(throws: CalderaError.self) { try body() }
        return error?.message ?? ""
    }

    @Test func unknownComponentsAreNamed() {
        let cases = [
            (#""normalizer": {"type": "Precompiled"}"#, "(normalizer)", "Precompiled"),
            (#""pre_tokenizer": {"type": "UnicodeScripts"}"#, "(pre_tokenizer)", "UnicodeScripts"),
            (#""post_processor": {"type": "BertProcessing"}"#, "(post_processor)", "BertProcessing"),
            (#""decoder": {"type": "CTC"}"#, "(decoder)", "CTC"),
            (#""model": {"type": "Unigram", "vocab": []}"#, "(model)", "Unigram"),
            (#""model": {"type": "BPE", "vocab": {"a": 0}, "merges": [], "dropout": 0.1}"#, "(model)", "dropout"),
            (
                #""pre_tokenizer": {"type": "Split", "pattern": {"String": "a"}, "behavior": "Eaten"}"#, "behavior",
                "Eaten"
            ),
            (#""pre_tokenizer": {"type": "Metaspace", "replacement": "__"}"#, "replacement", "single character"),
            (#""normalizer": {"type": "Replace", "pattern": 3, "content": ""}"#, "(normalizer)", "pattern"),
        ]
        for (members, place, what) in cases {
            let message = message { _ = try tokenizer(members) }
            let names = place.trimmingCharacters(in: ["(", ")"])
            #expect(message.contains(names) && message.contains(what), "\(members): \(message)")
        }
    }

    @Test(arguments: [
        "(", "a)", "[a", "a**b(", "(?<=a)b", #"\p{Han}"#, #"\p{L"#, #"\1"#, "(?:a*)*", "a{3,1}", "x{5000}", "*a",
        "[z-a]",
        "(?P<n>a)", #"\"#, "[[:alpha:]]", "a{2}?", #"\b"#,
    ])
    func unsupportedPatternsAreNamed(pattern: String) throws {
        let text = try #require(String(data: JSONEncoder().encode(pattern), encoding: .utf8))
        let members =
            #""pre_tokenizer": {"type": "Split", "pattern": {"Regex": \#(text)}, "behavior": "Isolated"}"#
        let message = message { _ = try tokenizer(members) }
        #expect(message.contains("the pattern \(pattern) is malformed or uses syntax"), "\(message)")
    }

    @Test func patternsWithoutEndAreErrors() throws {
        let tokenizer = try tokenizer(
            #""pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(?:a+)+b"}, "behavior": "Isolated"}"#)
        #expect(try tokenizer.encode("aaab", addSpecialTokens: true) == [0, 0, 2])
        let text = String(repeating: "a", count: 60)
        let message = message { _ = try tokenizer.encode(text, addSpecialTokens: true) }
        #expect(message.contains("takes too long on a text of 60 characters"))
    }

    @Test func damagedFilesAreErrors() throws {
        for json in [
            "", "{", "[]", "nonsense", "{}", #"{"model": 3}"#, #"{"model": {"type": "BPE"}}"#,
            "{\"model\": {\"vocab\": {\"a\": 0,}}}",
            #"{"model": {"vocab": {"a": -1}, "merges": []}}"#, #"{"model": {"vocab": {"a": "b"}, "merges": []}}"#,
            #"{"model": {"vocab": {"a": 0}, "merges": ["a b"]}}"#, #"{"model": {"vocab": {"a": 0}, "merges": ["a"]}}"#,
            #"{"model": {"vocab": {"a": 0}, "merges": [["a"]]}}"#, #"{"model": {"vocab": {"a": 0}, "merges": [7]}}"#,
            #"{"model": {"vocab": {"a": 2147483647}, "merges": []}}"#,
            #"{"model": {"vocab": {"a": 0}, "merges": [], "unk_token": "u"}}"#,
            #"{"model": {"vocab": {"a": 0}, "merges": []}, "added_tokens": [{"id": -4, "content": "x"}]}"#,
            #"{"model": {"vocab": {"a": 0}, "merges": []}, "added_tokens": [{"id": 1}]}"#, "{\"a\": \"\\ud800\"}",
            "{\"a\": \"\\u00g0\"}",
            String(repeating: "[", count: 100_000),
        ] {
            let message = message { _ = try TokenizerFile(json: Data(json.utf8)) }
            #expect(message.hasPrefix("tokenizer.json"), "\(json.prefix(80)): \(message)")
        }
        let folder = try TemporaryFolder()
        #expect(message { _ = try TokenizerFile(path: folder.path("tokenizer.json")) }.contains("There is no file"))
    }

    @Test func theConfigNamesTheEndsOfAText() throws {
        let plain = try tokenizer("", config: #"{"bos_token": "a", "eos_token": {"content": "b"}}"#)
        #expect((plain.beginningOfText, plain.endOfText) == (0, 1))
        #expect(try tokenizer("").endOfText == nil)
        let message = message { _ = try tokenizer("", config: #"{"bos_token": "<s>"}"#) }
        #expect(message.contains("bos_token <s>"))
    }

    /// Whatever its normalized form is called.
    @Test func normalizedSpecialTokensAreLeftOut() throws {
        let tokenizer = try tokenizer(
            #""normalizer": {"type": "Prepend", "prepend": "b"}, "decoder": {"type": "Fuse"}, "#
                + #""added_tokens": [{"id": 9, "content": "<s>", "special": true, "normalized": true}]"#)
        let ids = try tokenizer.encode("<s>ab", addSpecialTokens: false)
        #expect(ids == [9, 2])
        #expect(tokenizer.vocabularySize == 10)
        #expect(tokenizer.decode(ids, skipSpecialTokens: true) == "ab")
        #expect(tokenizer.decode(ids + [5, 99, -1], skipSpecialTokens: false) == "b<s>ab")
    }

    /// To Swift's strings the Angstrom sign and the letter are one.
    @Test func piecesThatLookAlikeStayApart() throws {
        let tokenizer = try tokenizer("")
        #expect(try tokenizer.encode("\u{212B}\u{C5}A\u{30A}", addSpecialTokens: false) == [3, 4])
        #expect(tokenizer.decode([3], skipSpecialTokens: false).unicodeScalars.first == "\u{212B}")
    }

    /// Quadratic joining would take minutes here: the bound is far above what the machine needs, and far below that.
    @Test(arguments: ["llama2", "gpt2", "llama3", "llama_metaspace"])
    func timeGrowsWithTheLength(style: String) throws {
        let tokenizer = try TokenizerFile(path: TokenizerGolden.url("\(style).json").path)
        for unit in ["x", "ab ", " ", "猫", "\n"] {
            let text = String(repeating: unit, count: 50_000 / unit.count)
            let time = try ContinuousClock().measure {
                let ids = try tokenizer.encode(text, addSpecialTokens: false)
                let decoded = tokenizer.decode(ids, skipSpecialTokens: true)
                // Of a text that starts with a space, files with a Metaspace step lose that one.
                #expect(decoded == text || decoded == String(text.dropFirst()) && unit == " ", "\(style)")
            }
            #expect(time < .seconds(30), "\(style) \(unit.debugDescription)")
        }
    }
}
