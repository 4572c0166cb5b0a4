import CalderaGraph
import CalderaTestSupport
import CalderaText
import Foundation
import Testing

private struct Variants: Decodable {
    struct Variant: Decodable {
        let name: String
        let style: String
        /// The JSON of an object whose members replace those of the style's file.
        let members: String
        let results: TokenizerGolden.Results

        enum CodingKeys: CodingKey {
            case name, style, members
        }

        init(from decoder: any Decoder) throws {
            let container = try decoder.container(keyedBy: CodingKeys.self)
            name = try container.decode(String.self, forKey: .name)
            style = try container.decode(String.self, forKey: .style)
            members = try container.decode(String.self, forKey: .members)
            results = try TokenizerGolden.Results(from: decoder)
        }

        func file() throws -> Data {
            let style = try String(contentsOf: TokenizerGolden.url("\(style).json"), encoding: .utf8)
            return TokenizerGolden.replacing(style, members)
        }
    }

    let texts: [String]
    let variants: [Variant]
}

/// Compares a tokenizer with its results; the strings that differ.
private func differences(
    _ tokenizer: some TextTokenizer, _ results: TokenizerGolden.Results, _ texts: [String]
) throws -> [String] {
    let (ids, decoded) = (TokenizerGolden.parts(results.ids), TokenizerGolden.parts(results.decoded))
    let special = results.special.map(TokenizerGolden.parts)
    #expect(ids.count == texts.count && decoded.count == texts.count)
    return try texts.indices.compactMap { index in
        let plain = try tokenizer.encode(texts[index], addSpecialTokens: false)
        let all = try tokenizer.encode(texts[index], addSpecialTokens: true)
        let text = tokenizer.decode(all, skipSpecialTokens: true)
        var wrong: [String] = []
        if TokenizerGolden.sum(plain) != ids[index] { wrong.append("ids \(plain)") }
        if let special, TokenizerGolden.sum(all) != special[index] { wrong.append("ids with special tokens \(all)") }
        if wrong.isEmpty, TokenizerGolden.sum(text) != decoded[index] { wrong.append("decoded \(escaped(text))") }
        return wrong.isEmpty ? nil : "\(escaped(texts[index])): \(wrong.joined(separator: ", "))"
    }
}

private func escaped(_ text: String) -> String { text.unicodeScalars.map { $0.escaped(asASCII: true) }.joined() }

private func mixedDifferences(_ tokenizer: some TextTokenizer, _ results: TokenizerGolden.Results) -> [String] {
    results.mixed.enumerated().compactMap { index, item in
        let text = tokenizer.decode(item.ids, skipSpecialTokens: index * 2 >= results.mixed.count)
        let isEqual = text.unicodeScalars.elementsEqual(item.text.unicodeScalars)
        return isEqual ? nil : "\(item.ids): \(escaped(text)), not \(escaped(item.text))"
    }
}

@Suite struct TokenizerFileTests {
    @Test(arguments: ["llama2", "llama_metaspace", "gpt2", "llama3", "qwen2", "captions"])
    func thousandsOfStringsEqualTheReference(style: String) throws {
        let texts: [String] = try TokenizerGolden.load("texts.json")
        let golden: [String: TokenizerGolden.Results] = try TokenizerGolden.load("ids.json")
        let results = try #require(golden[style])
        let tokenizer = try TokenizerFile(path: TokenizerGolden.url("\(style).json").path)
        #expect(texts.count >= 3000)
        #expect(tokenizer.vocabularySize == results.vocabularySize)
        #expect(try differences(tokenizer, results, texts).prefix(3) == [])
        #expect(mixedDifferences(tokenizer, results) == [])
        for (text, ids) in zip(texts, results.shown) {
            #expect(try tokenizer.encode(text, addSpecialTokens: true) == ids, "\(text.debugDescription)")
        }
    }

    /// Every kind of step, in files that are one of the styles with some members replaced.
    @Test func otherStepsEqualTheReference() throws {
        let golden: Variants = try TokenizerGolden.load("variants.json")
        #expect(golden.variants.count >= 60)
        for variant in golden.variants {
            let tokenizer = try TokenizerFile(json: variant.file())
            #expect(tokenizer.vocabularySize == variant.results.vocabularySize, "\(variant.name)")
            let found = try differences(tokenizer, variant.results, golden.texts)
            #expect(found.prefix(3) == [], "\(variant.name)")
            #expect(mixedDifferences(tokenizer, variant.results) == [], "\(variant.name)")
        }
    }
}

private struct Pieces: Decodable {
    let tokens: [String]
    let scores: [Float]
    let types: [Int32]
    let texts: [String]
    let ids: String
    let decoded: String
    let shown: [[Int32]]
}

@Suite struct PieceTokenizerTests {
    private func sentencePiece(_ golden: Pieces) throws -> SentencePieceBPE {
        try SentencePieceBPE(
            tokens: golden.tokens, scores: golden.scores, types: golden.types, addPrefixSpace: true, bos: 1, eos: 2)
    }

    @Test func sentencePiecesEqualTheReference() throws {
        let golden: Pieces = try TokenizerGolden.load("sentencepiece.json")
        let tokenizer = try sentencePiece(golden)
        #expect(golden.texts.count >= 1000)
        #expect(tokenizer.vocabularySize == golden.tokens.count)
        let (ids, decoded) = (TokenizerGolden.parts(golden.ids), TokenizerGolden.parts(golden.decoded))
        for (index, text) in golden.texts.enumerated() {
            let found = try tokenizer.encode(text, addSpecialTokens: false)
            #expect(TokenizerGolden.sum(found) == ids[index], "\(text.debugDescription): \(found)")
            let written = tokenizer.decode(found, skipSpecialTokens: true)
            #expect(TokenizerGolden.sum(written) == decoded[index], "\(text.debugDescription): \(written)")
        }
        for (text, ids) in zip(golden.texts, golden.shown) {
            #expect(try tokenizer.encode(text, addSpecialTokens: true) == [1] + ids)
        }
    }

    @Test func modelFilesHoldTheSamePieces() throws {
        let golden: Pieces = try TokenizerGolden.load("sentencepiece.json")
        let model = try Data(contentsOf: TokenizerGolden.url("tokenizer.model"))
        let folder = try TemporaryFolder()
        try folder.write("tokenizer.model", model)
        let plain = try SentencePieceBPE(folder: folder.url)
        #expect((plain.beginningOfText, plain.endOfText) == (1, 2))
        let size = golden.tokens.count
        try folder.write("added_tokens.json", #"{"<|b|>": \#(size + 1), "<|a|>": \#(size), "<s>": 1}"#)
        try folder.write("tokenizer_config.json", #"{"bos_token": {"content": "<s>"}, "eos_token": "<|b|>"}"#)
        let tokenizer = try SentencePieceBPE(folder: folder.url)
        #expect(tokenizer.vocabularySize == size + 2)
        #expect(tokenizer.endOfText == Int32(size + 1))
        let lists = try sentencePiece(golden)
        for text in golden.texts {
            #expect(try tokenizer.encode(text, addSpecialTokens: true) == lists.encode(text, addSpecialTokens: true))
        }
        #expect(try tokenizer.encode("<|a|>", addSpecialTokens: true) == [1, Int32(size)])
        for (name, text) in [
            ("added_tokens.json", #"{"<|a|>": 99999}"#), ("added_tokens.json", "[]"),
            ("added_tokens.json", #"{"a": "b"}"#),
            ("tokenizer_config.json", #"{"bos_token": "<nowhere>"}"#),
        ] {
            let bad = try TemporaryFolder()
            try bad.write("tokenizer.model", model)
            try bad.write(name, text)
            let error = #expect(throws: CalderaError.self) { try SentencePieceBPE(folder: bad.url) }
            #expect(error?.message.contains(name) == true)
        }
        for bytes in [Data(), model.prefix(1000), Data("nonsense".utf8), Data([0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F])] {
            try folder.write("tokenizer.model", bytes)
            let error = #expect(throws: CalderaError.self) { try SentencePieceBPE(folder: folder.url) }
            #expect(error?.message.contains("tokenizer.model") == true)
        }
    }

    /// Every stretch of text between spelled-out tokens starts with a space of its own, as in llama.cpp.
    @Test func spelledOutTokensAreFound() throws {
        let golden: Pieces = try TokenizerGolden.load("sentencepiece.json")
        let tokenizer = try sentencePiece(golden)
        let long = try #require(golden.tokens.firstIndex(of: "<|long|>").map(Int32.init))
        func plain(_ text: String) throws -> [Int32] { try tokenizer.encode(text, addSpecialTokens: false) }
        #expect(
            try plain("a <|long|>\ntag: <s>b</s>") == plain("a ") + [long] + plain("\ntag: ") + [1] + plain("b") + [2])
        let ids = try tokenizer.encode("tag: <|long|> x</s>", addSpecialTokens: true)
        #expect(tokenizer.decode(ids, skipSpecialTokens: true) == "tag: <|long|>  x")
        #expect(tokenizer.decode(ids, skipSpecialTokens: false) == "<s> tag: <|long|>  x</s>")
    }

    @Test func piecesWithoutBytesAreUnknownOrErrors() throws {
        let tokens = ["<unk>", "a", "b", "ab"]
        let known = try SentencePieceBPE(
            tokens: tokens, scores: [0, 0, 0, -1], types: [2, 1, 1, 1], addPrefixSpace: false, bos: nil, eos: nil)
        #expect(try known.encode("abxyab", addSpecialTokens: true) == [3, 0, 3])
        let strict = try SentencePieceBPE(
            tokens: tokens, scores: [0, 0, 0, -1], types: [], addPrefixSpace: false, bos: nil, eos: nil)
        #expect(throws: CalderaError.self) { try strict.encode("abx", addSpecialTokens: true) }
        #expect(throws: CalderaError.self) {
            try SentencePieceBPE(tokens: tokens, scores: [0], types: [], addPrefixSpace: false, bos: nil, eos: nil)
        }
        #expect(throws: CalderaError.self) {
            try SentencePieceBPE(
                tokens: tokens, scores: [0, 0, 0, 0], types: [], addPrefixSpace: false, bos: 4, eos: nil)
        }
    }

    /// The same tokenizers from a GGUF file's lists as from their files.
    @Test(arguments: [("gpt2", "gpt-2"), ("llama3", "llama-bpe")])
    func listsEqualTheFile(style: String, pattern: String) throws {
        let file = try TokenizerFile(path: TokenizerGolden.url("\(style).json").path)
        let json = try JSONConfig(contentsOf: TokenizerGolden.url("\(style).json").path)
        let model = try json.object("model")
        let merges: [String] = {
            guard case .array(let items)? = model.value("merges") else { return [] }
            return items.compactMap { item in
                switch item {
                case .string(let line): line
                case .array(let sides):
                    sides.compactMap { if case .string(let side) = $0 { side } else { nil } }
                        .joined(separator: " ")
                default: nil
                }
            }
        }()
        // Byte-level pieces are distinct to Swift's strings as well.
        var tokens = [String](repeating: "", count: file.vocabularySize)
        let vocabulary = try model.object("vocab")
        for key in vocabulary.keys { tokens[try vocabulary.int(key)] = key }
        var types = [Int32](repeating: 1, count: tokens.count)
        guard case .array(let added)? = json.value("added_tokens") else { return }
        for item in added {
            guard case .object(let token) = item else { continue }
            let config = JSONConfig(token, path: "added")
            tokens[try config.int("id")] = try config.string("content")
            types[try config.int("id")] = 3
        }
        let last = Int32(tokens.count - 1)
        let bos = style == "llama3" ? last - 1 : last
        let lists = try TokenizerFile(
            tokens: tokens, merges: merges, types: types, pattern: pattern, bos: bos,
            addBeginningOfText: style == "llama3", eos: last)
        #expect((lists.beginningOfText, lists.endOfText) == (bos, last))
        for text in try TokenizerGolden.load("texts.json") as [String] {
            let ids = try file.encode(text, addSpecialTokens: true)
            #expect(try lists.encode(text, addSpecialTokens: true) == ids, "\(text.debugDescription)")
            #expect(lists.decode(ids, skipSpecialTokens: true) == file.decode(ids, skipSpecialTokens: true))
        }
        #expect(throws: CalderaError.self) {
            try TokenizerFile(
                tokens: tokens, merges: merges, types: types, pattern: "unheard-of", bos: nil,
                addBeginningOfText: false,
                eos: nil)
        }
    }
}
