/// The upsampling of one prompt, one pass of the model at a time: `pending` is what it is asked next, and `take` what
/// it answered.
/// Reference: tipo-kgen, `tipo_runner`, `tipo_runner_generator` and `generate_with_retry`.
package struct PromptRun {
    package struct Settings: Sendable {
        /// Any seed is taken as it is, 0 too, in whose place tipo-kgen draws one.
        package var seed: UInt64 = 0
        package var sampling = CompletionSampling()
        /// How often an operation is asked again while it gives too little.
        package var maxRetries = 10
        /// How many answers that came before are enough to give up.
        package var maxSameOutputs = 5
        /// Whether the model writes meta fields in the last operation.
        package var makesMeta = false
        /// Whether each pass seeds the order of new tags, as tipo-kgen's does when transformers runs the model (its
        /// `set_seed` seeds Python's generator too), or the run's seed alone decides it, as with llama.cpp.
        package var reseedsEachPass = true

        package init() {}
    }

    /// One pass, for the log.
    package struct Pass: Sendable {
        package let operation: PromptPlan.Operation
        package let request: CompletionRequest
        package let output: String
        /// Whether the output gave enough; if not, the operation is asked again, up to the settings' bounds.
        package let isEnough: Bool
    }

    package private(set) var pending: CompletionRequest?
    package private(set) var result = ParsedPrompt()
    package private(set) var passes: [Pass] = []
    /// Tags that the bans took away.
    package private(set) var bannedCount = 0

    private let plan: PromptPlan
    private let lists: TagLists
    private let bans: BanList
    private let settings: Settings
    private var random: PythonRandom
    private var index = 0
    /// The tags and the text that the operation started with.
    private var tags: PythonText
    private var text: PythonText
    private var retry = Retry()

    /// What changes from one try of an operation to the next.
    private struct Retry {
        var tags = PythonText()
        var text = PythonText()
        var seed: UInt64 = 0
        var count = 0
        var same = 0
        var outputs: Set<PythonText> = []
    }

    package init(_ plan: PromptPlan, lists: TagLists, bans: BanList, settings: Settings) {
        self.plan = plan
        self.lists = lists
        self.bans = bans
        self.settings = settings
        tags = plan.tags
        text = plan.text
        random = PythonRandom(seed: settings.seed)
        start()
    }

    /// Leaves it at what there is.
    package mutating func stop() { pending = nil }

    /// Takes the answer to `pending`, which changes.
    package mutating func take(_ output: String) {
        guard let request = pending else { return }
        let operation = plan.operations[index]
        if settings.reseedsEachPass { random = PythonRandom(seed: request.seed & 0xFFFF_FFFF) }
        let raw = PythonText(output)
        var parsed = ParsedPrompt(text: raw, lists: lists)
        let merge = PromptMerge(tags: retry.tags, text: retry.text, task: operation.task, length: operation.length)
        bannedCount += parsed.tags("tag").filter(bans.bans).count
        merge.apply(to: &parsed, bans: bans, random: &random)
        result = parsed
        let isEnough = merge.isEnough(parsed)
        passes.append(Pass(operation: operation, request: request, output: output, isEnough: isEnough))
        if isEnough { return finish() }
        retry.count += 1
        if retry.outputs.insert(raw).inserted { retry.same = 0 } else { retry.same += 1 }
        retry.text = Self.first([parsed.text("extended"), parsed.text("generated"), retry.text]).stripped()
        retry.tags = parsed.mainTags.joined(", ")
        guard retry.count <= settings.maxRetries, retry.same < settings.maxSameOutputs else { return finish() }
        ask()
    }

    /// Starts the operation at `index`.
    private mutating func start() {
        guard index < plan.operations.count else {
            pending = nil
            return
        }
        retry = Retry(tags: tags, text: text, seed: random.integer(through: 1 << 32))
        ask()
    }

    private mutating func ask() {
        let isLast = index == plan.operations.count - 1
        let prompt = plan.prompt(
            plan.operations[index], tags: retry.tags, text: retry.text, makesMeta: settings.makesMeta && isLast)
        pending = CompletionRequest(
            prompt: prompt.string, seed: retry.seed + UInt64(retry.count), sampling: settings.sampling)
    }

    /// Hands what the operation gave to the next one.
    private mutating func finish() {
        index += 1
        if index < plan.operations.count {
            if !text.isEmpty, let made = result.removeSection("generated") { result["extended"] = made }
            text = Self.first([result.text("generated"), result.text("extended"), text]).stripped()
            tags = result.mainTags.joined(", ")
        }
        start()
    }

    private static func first(_ texts: [PythonText]) -> PythonText { texts.first { !$0.isEmpty } ?? PythonText() }
}
