import ArgumentParser

/// `caldera bench`: how fast it is.
struct BenchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench", abstract: "Measure whole models or single kernels.",
        subcommands: [BenchModelCommand.self, BenchKernelsCommand.self])
}
