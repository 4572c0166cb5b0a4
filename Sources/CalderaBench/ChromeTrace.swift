import CalderaGraph
import Foundation

/// A profile in the Trace Event Format that Perfetto and chrome://tracing open.
/// Reference: Google, "Trace Event Format", complete events ("ph": "X") and metadata events ("ph": "M").
package struct ChromeTrace: Codable, Sendable {
    package struct Event: Codable, Sendable {
        package let name: String
        package let ph: String
        package let pid: Int
        package let tid: Int
        /// Microseconds.
        package var ts: Double?
        package var dur: Double?
        package var cat: String?
        package var args: [String: String]?
    }

    package let traceEvents: [Event]
    package let displayTimeUnit: String
    package let otherData: [String: String]

    /// The rows: what the host waited for, and the layers.
    private static let hostRow = 1
    private static let layerRow = 2

    /// - Parameter device: what the layers ran on, for the row's name.
    package init(_ profiler: Profiler, device: String) {
        let names = [
            ChromeTrace.metadata("process_name", row: 0, "caldera"),
            ChromeTrace.metadata("thread_name", row: ChromeTrace.hostRow, "stages"),
            ChromeTrace.metadata("thread_name", row: ChromeTrace.layerRow, "layers on \(device)"),
        ]
        traceEvents = names + profiler.spans.map(ChromeTrace.event) + profiler.layers.map(ChromeTrace.event)
        displayTimeUnit = "ms"
        otherData = ["device": device]
    }

    /// The file's bytes. The format's keys are spelled as it spells them.
    package func encoded() throws -> Data {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return try encoder.encode(self)
    }

    private static func metadata(_ name: String, row: Int, _ value: String) -> Event {
        Event(name: name, ph: "M", pid: 1, tid: row, args: ["name": value])
    }

    private static func event(_ span: Profiler.Span) -> Event {
        Event(
            name: span.name, ph: "X", pid: 1, tid: hostRow, ts: span.start * 1e6, dur: span.seconds * 1e6, cat: "stage")
    }

    private static func event(_ layer: Profiler.Layer) -> Event {
        Event(
            name: layer.label, ph: "X", pid: 1, tid: layerRow, ts: layer.start * 1e6, dur: layer.seconds * 1e6,
            cat: layer.operation,
            args: [
                "part": layer.part, "operation": layer.operation, "kernel": layer.kernel,
                "stage": layer.stage == .step ? "step" : "prompt", "run": "\(layer.run)",
            ])
    }
}
