import ArgumentParser
import CalderaBench
import CalderaGraph
import Foundation

extension KernelFamily: ExpressibleByArgument {}
extension KernelSet: ExpressibleByArgument {}

/// `caldera bench kernels`: every variant of every kernel, on the shapes of real models.
struct BenchKernelsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "kernels", abstract: "Measure single kernels on the shapes of real models.",
        discussion: """
            Times are medians over operands that together are more than the caches hold, by the device's clock where it \
            has one. The ceiling is what the device reaches in programs that do nothing but multiply-adds (plain, and of \
            cooperative matrices where it has them), or copies (on the processor, oneDNN's large products); the error is that against the processor's fp32. A star marks \
            the variant that Caldera takes.
            """)

    @Option(
        help: ArgumentHelp(
            "Only this operation (\(KernelFamily.allCases.map(\.rawValue).joined(separator: ", "))); give the option once "
                + "for each. (default: all)", valueName: "operation"))
    var op: [KernelFamily] = []

    @Option(
        help: ArgumentHelp(
            "The shapes of this set (\(KernelSet.allCases.map(\.rawValue).joined(separator: ", "))); give the option once "
                + "for each. (default: sd15)", valueName: "set"))
    var set: [KernelSet] = []

    @Option(
        help: ArgumentHelp(
            "A shape of your own instead, for one --op: "
                + KernelFamily.allCases.map { "\($0.rawValue) \(KernelShape.form(of: $0))" }.joined(separator: ", ")
                + "; give the option once for each. (default: those of the set)", valueName: "numbers"),
        transform: Self.extents)
    var shape: [[Int]] = []

    @OptionGroup var device: DeviceOptions

    @Option(
        help: ArgumentHelp(
            "Also write every number, with device, driver, commit, date and command. (default: not written)",
            valueName: "file"))
    var json: String?

    @Option(
        help: ArgumentHelp(
            "Print ratios with an earlier file of --json, and exit with 1 if any is above the bound. (default: none)",
            valueName: "file"))
    var compare: String?

    @Option(
        help: ArgumentHelp(
            "The largest ratio of the new median and the earlier one that is no regression. (default: 1.1)",
            valueName: "ratio"),
        transform: Self.bound)
    var bound: Double?

    @Option(
        help: ArgumentHelp(
            "Also measure this shader, compiled now by libshaderc, in the place of a built-in kernel of the only --op, and "
                + "exit with 1 if it computes something else. (default: none)", valueName: "file"))
    var shader: String?

    @Option(
        help: ArgumentHelp(
            "The built-in kernel whose place --shader takes, or which --print-shader prints. (default: the one that Caldera "
                + "takes)", valueName: "name"))
    var kernel: String?

    @Flag(help: "Measure --shader again whenever it or a file that it includes is saved, until Ctrl-C.")
    var watch = false

    @Flag(help: "Only print the built-in kernel as one file, to begin a --shader with.")
    var printShader = false

    @OptionGroup var logging: LoggingOptions

    func validate() throws {
        if watch, shader == nil { throw ValidationError("--watch needs --shader.") }
        if printShader, shader != nil { throw ValidationError("--print-shader takes no --shader: leave one out.") }
        if kernel != nil, shader == nil, !printShader {
            throw ValidationError("--kernel needs --shader or --print-shader.")
        }
        if bound != nil, compare == nil { throw ValidationError("--bound needs --compare.") }
        if !shape.isEmpty, !set.isEmpty { throw ValidationError("--shape takes the place of --set: leave one out.") }
    }

    func run() throws {
        logging.bootstrap()
        if let json { try BenchmarkFile.check(json) }
        let earlier = try compare.map { try BenchmarkFile.read(KernelReport.self, from: $0) }
        if printShader {
            return try StandardStreams.print(ShaderBenchmark(KernelBenchmark(options), kernel: kernel).source())
        }
        let benchmark = try KernelBenchmark(options)
        if let shader { return try run(shader, on: benchmark, earlier) }
        try show(measure(benchmark), earlier)
    }

    /// What is built in, with progress on the standard error.
    func measure(_ benchmark: KernelBenchmark) throws -> KernelReport {
        var latest = ""
        return try benchmark.run { result in
            if result.shape != latest { StandardStreams.report("measured: \(result.shape)") }
            latest = result.shape
        }
    }

    /// Writes and prints what was asked for. Throws where something became slower.
    func show(_ report: KernelReport, _ earlier: KernelReport?) throws {
        if let json { try BenchmarkFile.write(report, to: json) }
        try StandardStreams.print(Self.text(report))
        if let earlier { try compare(earlier, report) }
    }

    private var options: KernelBenchmark.Options {
        var options = KernelBenchmark.Options()
        options.sets = set.isEmpty ? [.sd15] : set
        options.families = op
        options.shapes = shape
        options.device = device.choice
        options.precision = device.precision
        options.memoryLimit = device.maxMemory
        options.command = CommandLine.arguments
        return options
    }

    /// Throws where something became slower.
    private func compare(_ earlier: KernelReport, _ report: KernelReport) throws {
        let bound = bound ?? 1.1
        let comparison = try KernelComparison(earlier, report, bound: bound)
        try StandardStreams.print("\n" + Self.text(comparison))
        guard !comparison.regressions.isEmpty else { return }
        let count = comparison.regressions.count
        throw CalderaError(
            "\(count) of \(comparison.lines.count) measurements took more than \(bound) times as long as before: "
                + "look at the ratios, or allow more with --bound.")
    }

    // MARK: Arguments

    private static func extents(_ text: String) throws -> [Int] {
        try text.lowercased().split(separator: "x", omittingEmptySubsequences: false).map { part in
            guard let number = Int(part), number > 0 else {
                throw ValidationError("it must be whole numbers of at least 1 with x between them, such as 64x64x64")
            }
            return number
        }
    }

    private static func bound(_ text: String) throws -> Double {
        let number = try Numbers.finite(text)
        guard number > 0 else { throw ValidationError("it must be above 0, such as 1.1") }
        return number
    }

    // MARK: Text

    private static func text(_ report: KernelReport) -> String {
        let environment = report.environment
        let head = "\(environment.device) (\(environment.driver)), \(environment.precision)"
        var table = TextTable(rightAligned: [1, 2, 3, 4, 5])
        table.add("shape", "nodes", "µs", "TFLOP/s", "GB/s", "ceiling", "error", "variant")
        var latest = ""
        for result in report.results {
            let seconds = result.seconds.median
            table.add(
                result.shape == latest ? "" : result.shape, result.shape == latest ? "" : "\(result.count)",
                Units.fixed(seconds * 1e6, digits: 1), rate(result.operations, seconds, unit: 1e12, digits: 3),
                rate(result.bytes, seconds, unit: 1e9, digits: 1),
                "\(Units.fixed(100 * result.shareOfCeiling, digits: 1)) %",
                result.error.map { $0.isNaN ? "nan" : String(format: "%.1e", $0) } ?? "-",
                (result.isChosen ? "*" : " ") + result.variant)
            latest = result.shape
        }
        return [head, ceilings(report.ceilings), table.text()].joined(separator: "\n")
    }

    private static func ceilings(_ ceilings: DeviceCeilings) -> String {
        let half = ceilings.halfOperationsPerSecond.map { ", \(Units.fixed($0 / 1e12, digits: 3)) TFLOP/s in 16 bits" }
        let matrices = ceilings.cooperativeOperationsPerSecond.map {
            ", \(Units.fixed($0 / 1e12, digits: 3)) TFLOP/s of cooperative matrices"
        }
        return "ceilings: \(Units.fixed(ceilings.fp32OperationsPerSecond / 1e12, digits: 3)) TFLOP/s in fp32"
            + (half ?? "") + (matrices ?? "")
            + ", \(Units.fixed(ceilings.copyBytesPerSecond / 1e9, digits: 1)) GB/s of copies"
    }

    private static func rate(_ amount: Double, _ seconds: Double, unit: Double, digits: Int) -> String {
        amount > 0 && seconds > 0 ? Units.fixed(amount / seconds / unit, digits: digits) : "-"
    }

    private static func text(_ comparison: KernelComparison) -> String {
        var table = TextTable(rightAligned: [0, 1, 2])
        table.add("ratio", "before µs", "after µs", "shape", "variant")
        for line in comparison.lines {
            table.add(
                Units.fixed(line.ratio, digits: 2), Units.fixed(line.before * 1e6, digits: 1),
                Units.fixed(line.after * 1e6, digits: 1), line.shape, line.variant)
        }
        return table.text()
    }
}
