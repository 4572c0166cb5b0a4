import CalderaGraph
import CalderaTIPO
import CalderaTestSupport
import Foundation
import Testing

/// Adds a tag and a sentence of its own to every prompt, and keeps what it was asked.
private final class EagerModel: PromptCompleter {
    var asked: [[CompletionRequest]] = []
    var room = Int.max
    var answer = ", red scarf\nlong: A girl waits. It snows.\nshort: A girl waits."

    func complete(_ prompts: [CompletionRequest]) throws -> [String] {
        asked.append(prompts)
        return prompts.map { "<s> " + $0.prompt + answer + "</s>" }
    }

    func hasRoom(for prompt: String) -> Bool { prompt.count < room }
}

/// Gives fewer answers than it was asked for.
private struct LazyModel: PromptCompleter {
    func complete(_ prompts: [CompletionRequest]) throws -> [String] { [] }
}

private func usage(_ body: () throws -> Void) -> String? {
    let error = #expect(throws: CalderaError.self) { try body() }
    #expect(error?.kind == .usage)
    return error?.message
}

@Suite struct UpsamplerTests {
    private func request(_ tags: String, _ text: String = "") throws -> UpsampleRequest {
        var request = UpsampleRequest(tags: tags, text: text)
        request.settings.seed = 3
        request.settings.maxRetries = 0
        return request
    }

    @Test func tagsBecomeAPrompt() throws {
        let model = EagerModel()
        var request = try request("1girl, snow, masterpiece")
        request.wishes.tagLength = .veryShort
        request.wishes.textLength = .veryShort
        request.aspectRatio = 1.5
        let result = try Upsampler(completer: model).upsample(request)
        #expect(model.asked.map(\.count) == [1, 1])
        #expect(
            model.asked[0][0].prompt
                == "quality: masterpiece\naspect_ratio: 1.5\ntarget: <|very_short|>\ntag: 1girl, snow")
        #expect(model.asked[1][0].prompt.hasSuffix("<|tag_to_long|>\ntag: 1girl, snow, red scarf\nlong:"))
        #expect(result.tags == ["1girl", "snow", "red scarf"])
        #expect(result.prompt.hasPrefix("1girl, \n\nsnow, red scarf,\n\n"))
        #expect(result.prompt.hasSuffix("masterpiece"))
        #expect(result.passes.map(\.operation.task) == [.tag, .tagToLong])
        #expect(model.asked[0][0].sampling == CompletionSampling())
    }

    @Test func fieldsAreMetaFields() throws {
        let model = EagerModel()
        var request = try request("1girl, masterpiece")
        request.fields = [.quality: " best quality ,", .characters: "hatsune miku, rin", .meta: " "]
        let result = try Upsampler(completer: model).upsample(request)
        #expect(
            model.asked[0][0].prompt
                == "characters: hatsune miku, rin\nquality: masterpiece, best quality\ntarget: <|long|>\ntag: 1girl")
        #expect(result.prompt.hasPrefix("1girl, hatsune miku, rin"))
        var alone = try self.request("")
        alone.fields = [.artist: "someone"]
        _ = try Upsampler(completer: model).upsample(alone)
        #expect(model.asked[2][0].prompt == "artist: someone\ntarget: <|long|>")
    }

    /// A prompt that has grown beyond the model's context stays as it is.
    @Test func aFullModelEndsTheRun() throws {
        let model = EagerModel()
        model.room = 30
        var request = try request("1girl, snow")
        request.settings.maxRetries = 3
        let result = try Upsampler(completer: model).upsample(request)
        #expect(result.passes.count == 1)
        #expect(result.tags == ["1girl", "snow", "red scarf"])
    }

    @Test func severalPromptsShareThePasses() throws {
        let model = EagerModel()
        let requests = [try request("hat"), try request("", "A cat sits."), try request("1girl", "A girl.")]
        let together = try Upsampler(completer: model).upsample(requests)
        #expect(model.asked[0].count == 3)
        for (request, result) in zip(requests, together) {
            let alone = try Upsampler(completer: EagerModel()).upsample(request)
            #expect(alone.prompt == result.prompt)
            #expect(alone.passes.map(\.request) == result.passes.map(\.request))
        }
    }

    @Test func nothingToExpandLeavesThePromptAsItIs() throws {
        let model = EagerModel()
        var request = try request("1girl, hat", "A girl.")
        request.wishes.expandsTags = false
        request.wishes.expandsText = false
        let result = try Upsampler(completer: model).upsample(request)
        #expect(model.asked.isEmpty)
        #expect(result.prompt == "1girl, \n\nhat,\n\nA girl..")
    }

    @Test func theWishForATextFollowsTheForm() {
        #expect(UpsampleRequest(tags: "hat", text: "").wishes.addsText)
        #expect(!UpsampleRequest(tags: "hat", text: "A cat.").wishes.addsText)
        #expect(!UpsampleRequest(tags: "hat", text: "", form: PromptForm("<|general|>")).wishes.addsText)
        #expect(UpsampleRequest(tags: "", text: "A", form: PromptForm("<|generated|>")).wishes.addsText)
    }

    @Test func wrongWordsAreNamedWithNearOnes() throws {
        #expect(usage { _ = try TargetLength(named: "very_lon") }?.contains("did you mean \"very_long\"") == true)
        #expect(usage { _ = try TargetLength(named: "gigantic") }?.contains("very_short, short, long") == true)
        #expect(usage { _ = try PromptTask(named: "tags_to_long") }?.contains("did you mean \"tag_to_long\"") == true)
        #expect(usage { _ = try PromptForm(named: "tag-first") }?.contains("did you mean \"tags-first\"") == true)
        #expect(try PromptTask(named: "tag") == .tag)
        #expect(try PromptForm(named: "<|general|>!").template == "<|general|>!")
        #expect(try PromptForm(named: "text").template == "<|extended|>.")
    }

    @Test func emptyPromptsAndBadBansAreUsageErrors() throws {
        let upsampler = Upsampler(completer: EagerModel())
        #expect(
            usage { _ = try upsampler.upsample(UpsampleRequest(tags: " , ", text: " \n")) }?.contains("empty") == true)
        for ban in ["(", "[a", "*x", "", ".*", "a*", "(?:hat)?"] {
            var request = try request("hat")
            request.bans = [ban]
            #expect(usage { _ = try upsampler.upsample(request) }?.contains("\"\(ban)\"") == true, "\(ban)")
        }
        var request = try request("hat")
        request.form = PromptForm("<|general|>")
        request.wishes.addsText = false
        request.bans = [".+"]
        #expect(usage { _ = try upsampler.upsample(request) }?.contains("leave no tag") == true)
    }

    @Test func bansAreWordsOrPatternsFromTheStart() throws {
        let bans = try BanList(["scarf", "^b.w$", "[0-9]+girls"])
        for tag: PythonText in ["red scarf", "bow", "6girls"] { #expect(bans.bans(tag), "\(tag)") }
        for tag: PythonText in ["bows", "a bow", "girls", "1girl", "e\u{301}"] { #expect(!bans.bans(tag), "\(tag)") }
        // A dot is one scalar, not one letter with its accents.
        #expect(try BanList(["^.$"]).bans("\u{E9}"))
        #expect(try !BanList(["^.$"]).bans("e\u{301}"))
    }

    @Test func aModelThatDoesNotAnswerIsAnError() throws {
        let error = #expect(throws: CalderaError.self) {
            try Upsampler(completer: LazyModel()).upsample(request("hat"))
        }
        #expect(error?.message == "The model answered 0 of 1 prompts.")
    }

    @Test func tagListsComeFromAFolder() throws {
        let folder = try TemporaryFolder()
        #expect(usage { _ = try TagLists(folder: folder.url) }?.contains("artist.txt") == true)
        try folder.write("artist.txt", "quiet heron\r\nin_k\r\n\r\nlast one")
        let lists = try TagLists(folder: folder.url)
        let routed = TagMap(
            lists.route(["quiet_heron", "in_k", "in k", "last one", " masterpiece", "^_^", "a_hat", ""]))
        #expect(routed[.artist] == ["quiet heron", "in_k", "last one"])
        #expect(routed[.quality] == ["masterpiece"])
        #expect(routed[.general] == ["in k", "^_^", "a hat"])
        #expect(routed[.characters] == [])
    }
}
