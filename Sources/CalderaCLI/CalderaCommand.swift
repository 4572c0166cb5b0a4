import ArgumentParser
import Caldera

/// The root command: it does nothing itself but hold the subcommands, so that `caldera` alone prints the help.
struct CalderaCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "caldera",
        abstract: "Makes pictures from text with diffusion models, on Vulkan or on the processor.",
        discussion: """
            Exit codes: 0 for success, 1 for a job that failed, 2 for bad usage, 130 when interrupted (Ctrl-C), \
            143 when terminated. Results go to the standard output, progress and errors to the standard error.
            """,
        version: "caldera \(CalderaVersion.current)",
        subcommands: [
            GenerateCommand.self, UpsampleCommand.self, DevicesCommand.self, InspectCommand.self, ExplainCommand.self,
            ConvertCommand.self,
            BenchCommand.self,
        ])
}
