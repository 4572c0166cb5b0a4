import CalderaFormats
import Testing

@Suite struct GenerationParametersTests {
    private func parameters(_ prompt: String, _ negative: String = "") -> GenerationParameters {
        GenerationParameters(
            prompt: prompt, negativePrompt: negative, steps: 20, sampler: "DPM++ 2M", scheduleType: "Karras",
            guidanceScale: 7, seed: .max, width: 512, height: 768, model: "name",
            extra: [.init("Lora hashes", "a: 12, b: \"3\"\n\\")], version: "caldera 1")
    }

    @Test func writesTheWebUIsForm() {
        let text = parameters("a cat, (red:1.2)\nBREAK dog", "bad").text
        #expect(
            text == """
                a cat, (red:1.2)
                BREAK dog
                Negative prompt: bad
                Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 18446744073709551615, \
                Size: 512x768, Model: name, Lora hashes: "a: 12, b: \\"3\\"\\n\\\\", Version: caldera 1
                """)
    }

    @Test(arguments: [
        ("a cat", ""), ("a\nb\n\nc", "d\ne"), ("x, y: z, \"q\"", "'n', \"m\""), ("", "only negative"), ("", ""),
        ("Steps: 3, Sampler: x, Seed: 4", ""), ("猫 🐈 é e\u{301}", "\\ \\n"), ("a\u{2028}b", ""),
    ])
    func roundTrip(prompt: String, negative: String) {
        let written = parameters(prompt, negative)
        let back = GenerationParameters(parsing: written.text)
        #expect(back == written)
        #expect(back.size ?? (0, 0) == (512, 768))
        #expect(back.steps == 20 && back.seed == .max && back.guidanceScale == 7 && back.scheduleType == "Karras")
    }

    @Test func aNegativePromptLineInsideThePromptBeginsTheNegative() {
        let back = GenerationParameters(parsing: parameters("a\nNegative prompt: b", "c").text)
        #expect(back.prompt == "a")
        #expect(back.negativePrompt == "b\nc")
        #expect(back.steps == 20)
    }

    @Test func fewerThanThreeSettingsArePrompt() {
        let two = GenerationParameters(parsing: "a cat\nSteps: 1, Seed: 2")
        #expect(two.prompt == "a cat\nSteps: 1, Seed: 2")
        #expect(two.fields.isEmpty)
        let three = GenerationParameters(parsing: "a cat\nSteps: 1, Seed: 2, Empty: , Size: 3x4")
        #expect(three.prompt == "a cat")
        #expect(three.fields == [.init("Steps", "1"), .init("Seed", "2"), .init("Size", "3x4")])
    }

    @Test func brokenQuotesAreTakenAsTheyAre() {
        let text = "p\nSteps: 1, A b: \"x, y\", Cc: \"open, Dd: \"a\"b, Ee: \"\\q\", Ff: \"\", Zz: 9"
        let back = GenerationParameters(parsing: text)
        #expect(back["A b"] == "x, y")
        #expect(back["Cc"] == "\"open")
        #expect(back["Dd"] == "\"a\"b")
        #expect(back["Ee"] == "\"\\q\"")
        #expect(back["Zz"] == "9")
    }

    @Test func aLongLineTakesNoLongTime() {
        let clock = ContinuousClock()
        let line = String(repeating: "abc ", count: 200_000)
        let time = clock.measure { #expect(GenerationParameters(parsing: line).fields.isEmpty) }
        #expect(time < .seconds(20))
    }
}
