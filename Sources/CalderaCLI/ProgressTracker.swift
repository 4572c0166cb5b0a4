import Foundation

/// Counts steps and estimates what is left. Pictures are drawn in groups that run side by side; each group takes all
/// its steps before the next one starts.
struct ProgressTracker {
    /// How many steps the rate is an average of: enough to be steady, few enough to follow a machine that slows down.
    private static let window = 8

    private let pictures: Int
    private var step = 0
    private var steps = 0
    private var firstPicture = 0
    private var side = 1
    private var recent: [Double] = []

    init(pictures: Int) {
        self.pictures = pictures
    }

    /// A step of `side` pictures is done: `index` counts from 0, and so does `firstPicture`.
    mutating func add(index: Int, steps: Int, firstPicture: Int, side: Int, seconds: Double) {
        step = index + 1
        self.steps = steps
        self.firstPicture = firstPicture
        self.side = max(1, side)
        recent = (recent + [seconds]).suffix(Self.window)
    }

    /// "step 5/20, 3.1 it/s, 5 s left"
    var line: String {
        [group, "step \(step)/\(steps)", rate, timeLeft].compactMap { $0 }.joined(separator: ", ")
    }

    /// "20 steps, 3.1 it/s" once there was a step.
    var summary: String? {
        guard step > 0 else { return nil }
        let count = step == 1 ? "1 step" : "\(step) steps"
        return [group, count, rate].compactMap { $0 }.joined(separator: ", ")
    }

    /// The line with a bar before it, one column shorter than the terminal.
    func bar(columns: Int) -> String {
        let text = line
        let room = min(40, columns - text.count - 4)
        guard room >= 8 else { return text }
        let done = Int((fraction * Double(room)).rounded(.down))
        let bar = String(repeating: "#", count: done) + String(repeating: ".", count: room - done)
        return "[\(bar)] \(text)"
    }

    /// Part of the whole call's steps that is done, 0...1.
    private var fraction: Double {
        guard steps > 0 else { return 0 }
        let done = firstPicture * steps + side * step
        return min(1, Double(done) / Double(pictures * steps))
    }

    /// "pictures 3-4 of 4" where there are several.
    private var group: String? {
        guard pictures > 1 else { return nil }
        let last = firstPicture + side
        return side > 1 ? "pictures \(firstPicture + 1)-\(last) of \(pictures)" : "picture \(last) of \(pictures)"
    }

    private var secondsPerStep: Double? {
        recent.isEmpty ? nil : recent.reduce(0, +) / Double(recent.count)
    }

    /// Iterations per second, or seconds per iteration where these are slow.
    private var rate: String? {
        guard let seconds = secondsPerStep, seconds > 0 else { return nil }
        return seconds <= 1 ? Units.fixed(1 / seconds, digits: 1) + " it/s" : Units.fixed(seconds, digits: 1) + " s/it"
    }

    private var timeLeft: String? {
        guard let seconds = secondsPerStep else { return nil }
        let groupsLeft = max(0, pictures - firstPicture - side + side - 1) / side
        return Units.duration(Double(steps - step + groupsLeft * steps) * seconds) + " left"
    }
}
