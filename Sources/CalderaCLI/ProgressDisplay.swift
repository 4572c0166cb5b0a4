import Caldera
import Foundation

/// Shows on the standard error how far a call is: on a terminal as a bar that is redrawn in place, elsewhere as plain
/// lines, of which those for steps come at most every two seconds.
final class ProgressDisplay {
    private static let lineInterval = 2.0

    private var tracker: ProgressTracker
    private let drawsBar: Bool
    private var barIsOpen = false
    private var lastStepLine: ContinuousClock.Instant?

    /// `plain` asks for lines even on a terminal, where something else writes there as well.
    init(pictures: Int, plain: Bool) {
        tracker = ProgressTracker(pictures: pictures)
        let terminal = ProcessInfo.processInfo.environment["TERM"] ?? "dumb"
        drawsBar = StandardStreams.errorIsTerminal && terminal != "dumb" && !plain
    }

    /// Says what begins.
    func show(stage: String) {
        guard drawsBar else { return StandardStreams.report(stage) }
        redraw(stage)
    }

    func update(_ progress: GenerationProgress) {
        switch progress {
        case .encoding: show(stage: "encoding the prompt")
        case .compiling: show(stage: "compiling the model for this size")
        case .decoding: show(stage: tracker.summary.map { "\($0); decoding" } ?? "decoding")
        case .step(let index, let steps, let firstPicture, let pictures, let seconds):
            tracker.add(index: index, steps: steps, firstPicture: firstPicture, side: pictures, seconds: seconds)
            showStep()
        case .preview: break
        }
    }

    /// Ends the bar, so that what comes next starts on a line of its own.
    func finish() {
        guard barIsOpen else { return }
        barIsOpen = false
        StandardStreams.reportRaw("\n")
    }

    private func showStep() {
        guard !drawsBar else { return redraw(tracker.bar(columns: StandardStreams.errorWidth ?? 80)) }
        let now = ContinuousClock.now
        if let lastStepLine, (now - lastStepLine) / .seconds(1) < Self.lineInterval { return }
        lastStepLine = now
        StandardStreams.report(tracker.line)
    }

    /// Replaces the open line. A line as long as the terminal is wide would wrap and could not be replaced.
    private func redraw(_ text: String) {
        let columns = max(1, (StandardStreams.errorWidth ?? 80) - 1)
        barIsOpen = true
        StandardStreams.reportRaw("\r\u{1B}[K" + text.prefix(columns))
    }
}
