import ArgumentParser
import CalderaGraph
import Foundation

/// The program's entry: signals first, then the command, then the exit code.
@main
enum Program {
    static func main() {
        StandardStreams.openMissing()
        Interrupts.install()
        do {
            var command = try CalderaCommand.parseAsRoot(arguments)
            try command.run()
        } catch {
            exit(finish(error))
        }
    }

    /// The arguments, with `--upsample=PATH` by the name of the option that it is: the parser knows no flag that may have
    /// a value. (`--upsample PATH` would take the prompt for the path.)
    private static var arguments: [String] {
        CommandLine.arguments.dropFirst().map { argument in
            let flag = "--upsample="
            guard argument.hasPrefix(flag) else { return argument }
            return "--\(PromptArguments.upsampleModelName)=\(argument.dropFirst(flag.count))"
        }
    }

    /// Prints what there is to say about the error (or the help that was asked for) and gives the exit code.
    private static func finish(_ error: any Error) -> Int32 {
        if let error = error as? CalderaError {
            StandardStreams.reportError(error.message)
            return error.kind == .usage ? ExitStatus.usage : ExitStatus.failed
        }
        switch CalderaCommand.exitCode(for: error) {
        case .success:
            return printHelp(CalderaCommand.fullMessage(for: error))
        case .validationFailure:
            StandardStreams.reportError(CalderaCommand.message(for: error))
            return ExitStatus.usage
        default:
            StandardStreams.reportError(describe(error))
            return ExitStatus.failed
        }
    }

    private static func printHelp(_ text: String) -> Int32 {
        do {
            try StandardStreams.print(text)
            return ExitStatus.success
        } catch {
            StandardStreams.reportError(describe(error))
            return ExitStatus.failed
        }
    }

    /// Foundation's errors have a sentence of their own; others describe themselves.
    private static func describe(_ error: any Error) -> String {
        if let error = error as? CalderaError { return error.message }
        return error is LocalizedError || error is CocoaError ? error.localizedDescription : String(describing: error)
    }
}

/// The program's exit codes. Those of an interrupted run are 128 plus the signal's number, as shells count.
enum ExitStatus {
    static let success: Int32 = 0
    static let failed: Int32 = 1
    static let usage: Int32 = 2

    static func interrupted(by signal: Int32) -> Int32 { 128 + signal }
}
