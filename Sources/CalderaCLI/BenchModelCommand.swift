import ArgumentParser
import CalderaBench
import CalderaGraph
import Foundation

extension BenchmarkArchitecture: ExpressibleByArgument {}
extension ModelBenchmark.Part: ExpressibleByArgument {}

/// `caldera bench model`: a model's stages and layers, with random weights.
struct BenchModelCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "model", abstract: "Measure a model's stages and layers, without its files.",
        discussion: """
            The networks are those of the published models; their weights are random numbers of the right scale. Each \
            part is compiled, run once without being counted, measured, and released. The layers' times come from one \
            further run with the device's clock read behind each of them.
            """)

    @Option(help: "Which model: \(BenchmarkArchitecture.allCases.map(\.rawValue).joined(separator: ", ")).")
    var arch: BenchmarkArchitecture

    @Option(
        help: ArgumentHelp(
            "Only this part (\(ModelBenchmark.Part.allCases.map(\.rawValue).joined(separator: ", "))); give the option once "
                + "for each. (default: all that the model has)", valueName: "part"))
    var part: [ModelBenchmark.Part] = []

    @OptionGroup var size: SizeOptions

    @Option(
        parsing: .unconditional, help: ArgumentHelp("Pictures side by side. (default: 1)", valueName: "number"),
        transform: Numbers.positive)
    var batch: Int?

    @Option(
        parsing: .unconditional, help: ArgumentHelp("Steps to measure. (default: 3)", valueName: "number"),
        transform: Numbers.positive)
    var steps: Int?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Runs of the encoders and of the decoder to measure. (default: 3)", valueName: "number"),
        transform: Numbers.positive)
    var repeats: Int?

    @Flag(help: "Evaluate the UNet once a step, as for a guidance scale of 1, instead of twice side by side.")
    var noGuidance = false

    @OptionGroup var device: DeviceOptions
    @OptionGroup var tuning: TuningOptions

    @Option(
        help: ArgumentHelp(
            "Also write every number, with device, driver, commit, date and command. (default: not written)",
            valueName: "file"))
    var json: String?

    @OptionGroup var logging: LoggingOptions

    func run() throws {
        logging.bootstrap()
        if let json { try BenchmarkFile.check(json) }
        let benchmark = try ModelBenchmark(options) { StandardStreams.report($0) }
        let report = try benchmark.run { StandardStreams.report("measuring: \($0)") }
        if let json { try BenchmarkFile.write(report, to: json) }
        try StandardStreams.print(Self.text(report))
    }

    private var options: ModelBenchmark.Options {
        var options = ModelBenchmark.Options(arch)
        options.parts = Set(part)
        options.width = size.width
        options.height = size.height
        if let batch { options.batch = batch }
        if let steps { options.steps = steps }
        if let repeats { options.repeats = repeats }
        options.isGuided = !noGuidance
        options.device = device.choice
        options.precision = device.precision
        options.tunes = tuning.tune
        options.memoryLimit = device.maxMemory
        options.command = CommandLine.arguments
        return options
    }

    // MARK: Text

    private static func text(_ report: ModelReport) -> String {
        let environment = report.environment
        let head =
            "\(report.architecture) at \(report.width)x\(report.height), batch \(report.batch), "
            + "on \(environment.device) (\(environment.driver)), \(environment.precision)"
        return [head, times(report), parts(report), planner(report), layers(report), memory(report)].joined(
            separator: "\n\n")
    }

    private static func times(_ report: ModelReport) -> String {
        var table = TextTable(rightAligned: [1, 2, 3])
        table.add("seconds", "median", "least", "most")
        let rows = [
            ("encode", report.encodeSeconds), ("prompt", report.promptSeconds), ("step", report.stepSeconds),
            ("decode", report.decodeSeconds),
        ]
        for (name, spread) in rows {
            guard let spread else { continue }
            table.add(name, seconds(spread.median), seconds(spread.min), seconds(spread.max))
        }
        return table.text()
    }

    private static func parts(_ report: ModelReport) -> String {
        var table = TextTable(rightAligned: [1, 2, 3, 4, 5, 6, 7])
        table.add("part", "plan", "compile", "(kernels)", "first run", "weights", "arena", "TFLOP a run")
        for part in report.parts {
            table.add(
                part.name, seconds(part.planSeconds), seconds(part.compileSeconds), seconds(part.pipelineSeconds),
                seconds(part.firstRunSeconds), Units.bytes(part.weightBytes), Units.bytes(part.arenaBytes),
                Units.fixed(part.operations / 1e12, digits: 3))
        }
        return table.text()
    }

    /// What the plan costs: the arena beside what is alive at once, and the host's work.
    private static func planner(_ report: ModelReport) -> String {
        var table = TextTable(rightAligned: [1, 2, 3, 4, 5])
        table.add("plan", "arena", "largest live set", "ratio", "record ms", "host ms a run")
        for part in report.parts {
            let ratio = part.largestLiveSetBytes > 0 ? Double(part.arenaBytes) / Double(part.largestLiveSetBytes) : 1
            table.add(
                part.name, Units.bytes(part.arenaBytes), Units.bytes(part.largestLiveSetBytes),
                Units.fixed(ratio, digits: 3), milliseconds(part.recordSeconds), milliseconds(part.hostSeconds))
        }
        return table.text()
    }

    private static func milliseconds(_ seconds: Double?) -> String {
        seconds.map { Units.fixed(1000 * $0, digits: 3) } ?? "-"
    }

    /// The slowest ten of each part and stage.
    private static func layers(_ report: ModelReport) -> String {
        var sections: [String] = []
        for part in report.parts {
            for stage in ["prompt", "step"] {
                let layers = report.layers.filter { $0.part == part.name && $0.stage == stage }
                if !layers.isEmpty { sections.append(section("\(part.name), \(stage)", layers)) }
            }
        }
        return sections.joined(separator: "\n\n")
    }

    private static func section(_ title: String, _ layers: [ModelReport.Layer]) -> String {
        let total = layers.reduce(0) { $0 + $1.seconds }
        var table = TextTable(rightAligned: [0, 1, 2])
        for layer in layers.sorted(by: { $0.seconds > $1.seconds }).prefix(10) {
            let share = total > 0 ? 100 * layer.seconds / total : 0
            let rate = layer.operations > 0 && layer.seconds > 0 ? layer.operations / layer.seconds / 1e12 : 0
            table.add(
                "\(Units.fixed(1000 * layer.seconds, digits: 3)) ms", "\(Units.fixed(share, digits: 1)) %",
                rate > 0 ? "\(Units.fixed(rate, digits: 3)) TFLOP/s" : "", layer.label, layer.kernel)
        }
        let count = min(10, layers.count)
        return "\(title): the slowest \(count) of \(layers.count) layers, \(seconds(total)) s in all\n"
            + table.text(indentation: 2)
    }

    private static func memory(_ report: ModelReport) -> String {
        "peak \(Units.bytes(report.peakDeviceBytes)) on the device, \(Units.bytes(report.peakHostBytes)) on the host"
    }

    private static func seconds(_ value: Double) -> String { Units.fixed(value, digits: value < 10 ? 4 : 2) }
}
