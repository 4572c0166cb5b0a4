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
        if wrong.isEmpty, TokenizerGolden.sum(text) != decoded[index] { wrong.append("decoded \(text.debugDescription)") }
        return wrong.isEmpty ? nil : "\(texts[index].debugDescription): \(wrong.joined(separator: ", "))"
    }
}

private func mixedDifferences(_ tokenizer: some TextTokenizer, _ results: TokenizerGolden.Results) -> [String] {
    results.mixed.enumerated().compactMap { index, item in
        let text = tokenizer.decode(item.ids, skipSpecialTokens: index * 2 >= results.mixed.count)
        let isEqual = text.unicodeScalars.elementsEqual(item.text.unicodeScalars)
        return isEqual ? nil : "\(item.ids): \(text.debugDescription), not \(item.text.debugDescription)"
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
        #expect(try differences(tokenizer, results, texts) == [])
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
            #expect(found == [], "\(variant.name)")
            #expect(mixedDifferences(tokenizer, variant.results) == [], "\(variant.name)")
        }
    }
}
