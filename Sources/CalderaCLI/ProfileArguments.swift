import ArgumentParser
import CalderaBench
import CalderaGraph

/// Where the time goes.
struct ProfileArguments: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Write when each layer ran, as a trace that Perfetto and chrome://tracing open, and list the slowest ten on the "
                + "standard error. (default: not measured)", valueName: "file.json"))
    var profile: String?

    /// What the generator tells; nil where nobody asks. Throws a usage error where no file could be written.
    func profiler() throws -> Profiler? {
        guard let profile else { return nil }
        try BenchmarkFile.check(profile)
        return Profiler()
    }

    /// Writes the trace, and the table.
    func report(_ profiler: Profiler, device: String) throws {
        guard let profile else { return }
        try BenchmarkFile.write(ChromeTrace(profiler, device: device).encoded(), to: profile)
        StandardStreams.report(Self.table(profiler))
    }

    private static func table(_ profiler: Profiler) -> String {
        let slowest = LayerSummary.slowest(10, of: profiler.layers)
        var table = TextTable(rightAligned: [0, 1, 2])
        table.add("seconds", "share", "runs", "part", "operation", "layer")
        for layer in slowest {
            table.add(
                Units.fixed(layer.seconds, digits: 4), "\(Units.fixed(100 * layer.share, digits: 1)) %",
                "\(layer.runs)", layer.part, layer.operation, layer.label)
        }
        let total = profiler.layers.reduce(0) { $0 + $1.seconds }
        return "The slowest layers, of \(Units.fixed(total, digits: 3)) s in all:\n" + table.text(indentation: 2)
    }
}
