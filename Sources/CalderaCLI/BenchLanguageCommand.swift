import ArgumentParser
import CalderaBench
import CalderaGraph
import Foundation

extension LanguageArchitecture: ExpressibleByArgument {}

/// `caldera bench language`: a language model's prompt and tokens, with random weights.
struct BenchLanguageCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "language", abstract: "Measure how fast a language model reads and writes, without its files.",
        discussion: """
            The networks are those of the published prompt upsamplers; their weights are random numbers of the right \
            scale. Writing reads every weight once for each token, so its rate is compared with the device's copying.
            """)

    @Option(help: "Which model: \(LanguageArchitecture.allCases.map(\.rawValue).joined(separator: ", ")).")
    var arch: LanguageArchitecture

    @Option(
        parsing: .unconditional, help: ArgumentHelp("Texts side by side. (default: 1)", valueName: "number"),
        transform: Numbers.positive)
    var batch: Int?

    @Option(
        parsing: .unconditional, help: ArgumentHelp("Tokens of the prompt. (default: 64)", valueName: "number"),
        transform: Numbers.positive)
    var promptTokens: Int?

    @Option(
        parsing: .unconditional, help: ArgumentHelp("Tokens to write. (default: 64)", valueName: "number"),
        transform: Numbers.positive)
    var tokens: Int?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Readings of the prompt to measure. (default: 3)", valueName: "number"),
        transform: Numbers.positive)
    var repeats: Int?

    @OptionGroup var device: DeviceOptions

    @Option(
        help: ArgumentHelp(
            "Also write every number, with device, driver, commit, date and command. (default: not written)",
            valueName: "file"))
    var json: String?

    @OptionGroup var logging: LoggingOptions

    func run() throws {
        logging.bootstrap()
        if let json { try BenchmarkFile.check(json) }
        let report = try LanguageBenchmark(options).run()
        if let json { try BenchmarkFile.write(report, to: json) }
        try StandardStreams.print(Self.text(report))
    }

    private var options: LanguageBenchmark.Options {
        var options = LanguageBenchmark.Options(arch)
        if let batch { options.batch = batch }
        if let promptTokens { options.promptTokens = promptTokens }
        if let tokens { options.tokens = tokens }
        if let repeats { options.repeats = repeats }
        options.device = device.choice
        options.precision = device.precision
        options.memoryLimit = device.maxMemory
        options.command = CommandLine.arguments
        return options
    }

    private static func text(_ report: LanguageReport) -> String {
        let environment = report.environment
        var table = TextTable(rightAligned: [1, 2, 3, 4])
        table.add("seconds", "median", "least", "most", "tokens a second")
        let rows = [
            ("prompt", report.promptSeconds, report.batch * report.promptTokens),
            ("token", report.tokenSeconds, report.batch),
        ]
        for (name, spread, tokens) in rows {
            table.add(
                name, fixed(spread.median, 5), fixed(spread.min, 5), fixed(spread.max, 5),
                fixed(Double(tokens) / spread.median, 1))
        }
        let share = 100 * report.bytesPerSecond / report.copyBytesPerSecond
        return [
            "\(report.architecture), batch \(report.batch), a prompt of \(report.promptTokens) tokens, "
                + "on \(environment.device) (\(environment.driver)), \(environment.precision); compiled in "
                + "\(fixed(report.compileSeconds, 2)) s",
            table.text(),
            "a token reads \(Units.bytes(report.weightBytesPerToken)) of weights: "
                + "\(fixed(report.bytesPerSecond / 1e9, 1)) GB/s, \(fixed(share, 0)) % of the "
                + "\(fixed(report.copyBytesPerSecond / 1e9, 1)) GB/s of copying",
            "peak \(Units.bytes(report.peakDeviceBytes)) on the device, \(Units.bytes(report.peakHostBytes)) on the host",
        ].joined(separator: "\n\n")
    }

    private static func fixed(_ value: Double, _ digits: Int) -> String { Units.fixed(value, digits: digits) }
}
