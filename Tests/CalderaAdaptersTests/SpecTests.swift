import CalderaAdapters
import CalderaFormats
import CalderaGraph
import CalderaTestSupport
import Testing

/// How adapters are asked for: arguments, tags in prompts, names in a folder.
@Suite struct SpecTests {
    @Test(arguments: [
        ("a/b.safetensors", AdapterSpec("a/b.safetensors")),
        ("a.safetensors:0.8", AdapterSpec("a.safetensors", textWeight: 0.8, unetWeight: 0.8)),
        ("a:1", AdapterSpec("a")), ("a:-0.5", AdapterSpec("a", textWeight: -0.5, unetWeight: -0.5)),
        ("a:0.25,1.5", AdapterSpec("a", textWeight: 0.25, unetWeight: 1.5)),
        ("C:x/b:2", AdapterSpec("C:x/b", textWeight: 2, unetWeight: 2)), ("odd:name", AdapterSpec("odd:name")),
        ("a:1,2,3", AdapterSpec("a:1,2,3")), ("a:nan", AdapterSpec("a:nan")),
    ])
    func readsArguments(argument: String, expected: AdapterSpec) throws {
        #expect(try AdapterSpec(argument: argument) == expected)
    }

    @Test func existingPathsGoBeforeWeights() throws {
        let folder = try TemporaryFolder()
        let odd = try folder.write("style:2", "")
        #expect(try AdapterSpec(argument: odd) == AdapterSpec(odd))
        #expect(try AdapterSpec(argument: "\(odd):3") == AdapterSpec(odd, textWeight: 3, unetWeight: 3))
        for wrong in ["\(odd):strong", "\(odd):", "\(odd):1,2,3", "", ":0.5"] {
            let error = #expect(throws: CalderaError.self) { _ = try AdapterSpec(argument: wrong) }
            #expect(error?.kind == .usage)
        }
    }

    @Test(
        arguments: [
            ("a cat", "a cat", []), ("a <lora:x>cat", "a cat", [AdapterSpec("x")]),
            ("<lora:x:0.5>, a cat", ", a cat", [AdapterSpec("x", textWeight: 0.5, unetWeight: 0.5)]),
            ("a  <lyco:x y.z:-1:2> b", "a   b", [AdapterSpec("x y.z", textWeight: -1, unetWeight: 2)]),
            ("<lora:x:unet=0>", "", [AdapterSpec("x", textWeight: 1, unetWeight: 0)]),
            ("<lora:x:te=0.25:unet=1>", "", [AdapterSpec("x", textWeight: 0.25, unetWeight: 1)]),
            ("<lora:x:0.5:te=0.25>", "", [AdapterSpec("x", textWeight: 0.25, unetWeight: 0.25)]),
            ("<lora:x: 1 >", "", [AdapterSpec("x")]),
            (
                "<lora:b:1>(a:1.2)<lora:a:2>", "(a:1.2)",
                [AdapterSpec("b"), AdapterSpec("a", textWeight: 2, unetWeight: 2)]
            ),
            ("a < b: c > d <lora:> <lora x>", "a < b: c > d <lora:> <lora x>", []),
        ] as [(String, String, [AdapterSpec])])
    func takesTagsOut(text: String, prompt: String, adapters: [AdapterSpec]) throws {
        let tags = try PromptTags(text)
        #expect(tags.prompt == prompt)
        #expect(tags.adapters == adapters)
        #expect(tags.ignored.isEmpty)
    }

    @Test func listsTagsOfOtherKinds() throws {
        let tags = try PromptTags("a <hypernet:x:1><lora:y>b")
        #expect(tags.prompt == "a b")
        #expect(tags.ignored == ["<hypernet:x:1>"])
        #expect(tags.adapters == [AdapterSpec("y")])
    }

    @Test(arguments: [
        ("<lora:x:strong>", "is no number"), ("<lora:x:>", "is no number"), ("<lora::1>", "has no name"),
        ("<lora:x:1:1:8>", "dyn"), ("<lora:x:dyn=8>", "dyn"), ("<lora:x:te=inf>", "is no number"),
    ])
    func refusesTagsThatMakeNoSense(text: String, expected: String) {
        let error = #expect(throws: CalderaError.self) { _ = try PromptTags(text) }
        #expect(error?.kind == .usage)
        #expect(error?.message.contains(expected) == true, "\(error?.message ?? "")")
    }

    private func write(_ folder: TemporaryFolder, _ name: String, alias: String? = nil) throws -> String {
        let path = try folder.write(name, "")
        let tensor = SafetensorsWriter.Tensor("x", HostTensor([1], [Float(1)]))
        try SafetensorsWriter.write([tensor], metadata: alias.map { ["ss_output_name": $0] } ?? [:], to: path)
        return path
    }

    @Test func findsNamesInAFolder() throws {
        let temporary = try TemporaryFolder()
        let ink = try write(temporary, "Ink_v2.safetensors", alias: "ink")
        let deep = try write(temporary, "styles/more/water.v1.safetensors", alias: "wet")
        _ = try write(temporary, "one.safetensors", alias: "same")
        _ = try write(temporary, "two.safetensors", alias: "same")
        _ = try write(temporary, "double.safetensors")
        _ = try write(temporary, "styles/double.safetensors")
        try temporary.write("broken.safetensors", "no")
        try temporary.write("notes.txt", "ink")
        let folder = AdapterFolder(temporary.url.path)
        #expect(try folder.find("Ink_v2") == ink)
        #expect(try folder.find("ink_V2") == ink)
        #expect(try folder.find("ink") == ink)
        #expect(try folder.find("water.v1") == deep)
        #expect(try folder.find("wet") == deep)
        for (name, expected) in [
            ("same", "fits several LoRAs"), ("double", "styles/double.safetensors"),
            ("Imk_v2", "near names are Ink_v2"),
            ("notes", "has no LoRA notes"), ("water", "near names are water.v1"), ("WET", "has no LoRA WET"),
        ] {
            let error = #expect(throws: CalderaError.self) { _ = try folder.find(name) }
            #expect(error?.kind == .usage)
            #expect(error?.message.contains(expected) == true, "\(error?.message ?? "")")
        }
        let missing = #expect(throws: CalderaError.self) { _ = try AdapterFolder("/nonexistent").find("x") }
        #expect(missing?.message == "There is no LoRA folder /nonexistent.")
    }
}
