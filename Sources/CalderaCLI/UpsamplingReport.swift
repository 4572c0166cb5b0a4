import Caldera
import Foundation

/// What `caldera upsample --json` prints.
struct UpsamplingReport: Encodable {
    struct Section: Encodable {
        let name: String
        let content: String
    }

    struct Pass: Encodable {
        @OrNull var task: String?
        let prompt: String
        let output: String
    }

    struct Prompt: Encodable {
        let prompt: String
        let seed: UInt64
        /// In the model's order.
        let sections: [Section]
        let passes: [Pass]
    }

    let model: String
    let device: String
    let precision: String
    let prompts: [Prompt]
    let loadSeconds: Double
    let upsampleSeconds: Double

    init(_ upsampler: PromptUpsampler, _ texts: [UpsampledText], loadSeconds: Double, upsampleSeconds: Double) {
        model = upsampler.modelName
        device = upsampler.deviceName
        precision = upsampler.precision.rawValue
        prompts = texts.map(Prompt.init)
        self.loadSeconds = loadSeconds
        self.upsampleSeconds = upsampleSeconds
    }
}

extension UpsamplingReport.Prompt {
    init(_ text: UpsampledText) {
        prompt = text.prompt
        seed = text.seed
        sections = text.sections.map { .init(name: $0.name, content: $0.content) }
        passes = text.passes.map { .init(task: $0.task, prompt: $0.prompt, output: $0.output) }
    }
}

/// Shows on a terminal what a language model writes, as it writes it.
final class StreamDisplay {
    private let isShown: Bool
    private var isOpen = false

    init(isShown: Bool) { self.isShown = isShown && StandardStreams.errorIsTerminal }

    func show(_ text: String) {
        guard isShown else { return }
        isOpen = true
        // Line by line: `onOneLine` would take the line breaks, but must take whatever else commands a terminal.
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false).map { String($0).onOneLine }
        StandardStreams.reportRaw(lines.joined(separator: "\n"))
    }

    /// Ends the text, so that what comes next starts on a line of its own.
    func finish() {
        guard isOpen else { return }
        isOpen = false
        StandardStreams.reportRaw("\n\n")
    }
}
