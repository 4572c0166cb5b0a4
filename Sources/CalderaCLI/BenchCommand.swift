import ArgumentParser

/// `caldera bench`: how fast it is.
struct BenchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench", abstract: "Measure image models, language models or single kernels.",
        subcommands: [BenchModelCommand.self, BenchLanguageCommand.self, BenchKernelsCommand.self])
}
