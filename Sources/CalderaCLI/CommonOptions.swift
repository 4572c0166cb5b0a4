import ArgumentParser
import Caldera
import CalderaGraph
import Logging

extension Precision: ExpressibleByArgument {}

/// What is computed with.
struct DeviceOptions: ParsableArguments {
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "Where to compute: auto (the best real GPU, else the processor), cpu, vulkan (the best Vulkan device, a "
                + "software driver included), vulkan:INDEX or vulkan:NAME-PART (see `caldera devices`). "
                + "(default: auto)",
            valueName: "device"),
        transform: DeviceChoice.init(argument:))
    var device: DeviceChoice?

    @Option(
        help: ArgumentHelp(
            "The arithmetic of activations and weights. (default: fp16 on Vulkan, fp32 on the processor)",
            valueName: "precision"))
    var precision: Precision?

    var choice: DeviceChoice { device ?? .auto }
}

/// The picture's size in pixels.
struct SizeOptions: ParsableArguments {
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Pixels, a multiple of 8. (default: the model's own)", valueName: "pixels"),
        transform: Numbers.side)
    var width: Int?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Pixels, a multiple of 8. (default: the model's own)", valueName: "pixels"),
        transform: Numbers.side)
    var height: Int?
}

/// What the program says besides its results.
struct LoggingOptions: ParsableArguments {
    @Flag(name: .shortAndLong, help: "Say on the standard error what is being done, in detail.")
    var verbose = false

    /// Sends the log to the standard error; called once, before the first logger is made.
    func bootstrap() {
        let level: Logger.Level = verbose ? .debug : .warning
        LoggingSystem.bootstrap { label in
            var handler = StreamLogHandler.standardError(label: label)
            handler.logLevel = level
            return handler
        }
    }
}

/// Numbers out of arguments, with a sentence for each way in which they can be wrong. The façade checks the limits that
/// depend on the model.
enum Numbers {
    /// A picture's width or height in pixels.
    static func side(_ text: String) throws -> Int {
        let side = try positive(text)
        guard side.isMultiple(of: 8) else {
            let lower = side / 8 * 8
            let near = lower == 0 ? "8" : "\(lower) or \(lower + 8)"
            throw ValidationError("it must be a multiple of 8, such as \(near)")
        }
        return side
    }

    /// A whole number of at least 1.
    static func positive(_ text: String) throws -> Int {
        guard let number = Int(text) else { throw ValidationError("it must be a whole number of at least 1") }
        guard number > 0 else { throw ValidationError("it must be at least 1") }
        return number
    }

    /// A seed, as torch's generator takes it.
    static func seed(_ text: String) throws -> UInt64 {
        guard let seed = UInt64(text) else {
            throw ValidationError("it must be a whole number from 0 to \(UInt64.max)")
        }
        return seed
    }

    /// A finite number.
    static func finite(_ text: String) throws -> Double {
        guard let number = Double(text), number.isFinite else { throw ValidationError("it must be a finite number") }
        return number
    }
}
