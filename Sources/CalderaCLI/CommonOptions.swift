import ArgumentParser
import Caldera
import CalderaDiffusion
import CalderaGraph
import Foundation
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

    @Option(
        help: ArgumentHelp(
            "The most memory to use, such as 3GiB or 800MiB: parts are loaded in turn, and weights that do not fit are "
                + "read again at each step. (default: what there is)", valueName: "size"),
        transform: Numbers.memory)
    var maxMemory: Int?

    var choice: DeviceChoice { device ?? .auto }
}

/// How kernels are chosen.
struct TuningOptions: ParsableArguments {
    @Flag(
        help: ArgumentHelp(
            "First measure every variant of the kernels on shapes that the Vulkan device has not met, and keep the fastest "
                + "of each for later runs of any command. (default: what was kept, else a choice by shape)"))
    var tune = false
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

    /// From 0 to 1, both included.
    static func fraction(_ text: String) throws -> Double {
        guard let number = Double(text), (0...1).contains(number) else {
            throw ValidationError("it must be a number from 0 to 1")
        }
        return number
    }

    /// Between 0 and 1.
    static func openFraction(_ text: String) throws -> Double {
        guard let number = Double(text), number > 0, number < 1 else {
            throw ValidationError("it must be a number between 0 and 1")
        }
        return number
    }

    /// Whole numbers with commas between them.
    static func timesteps(_ text: String) throws -> [Int] {
        guard let list = list(text, { Int($0) }) else {
            throw ValidationError("it must be whole numbers with commas between them, such as 999,500,100")
        }
        return list
    }

    /// Numbers with commas between them.
    static func sigmas(_ text: String) throws -> [Double] {
        guard let list = list(text, { Double($0) }), list.allSatisfy(\.isFinite) else {
            throw ValidationError("it must be numbers with commas between them, such as 14.6,3.2,0.7")
        }
        return list
    }

    /// Nil where one of the parts is no element.
    private static func list<Element>(_ text: String, _ element: (String) -> Element?) -> [Element]? {
        let parts = text.split(separator: ",", omittingEmptySubsequences: false)
        let elements = parts.compactMap { element($0.trimmingCharacters(in: .whitespaces)) }
        return elements.count == parts.count ? elements : nil
    }

    /// Of pictures that a model is told of, in pixels: more than any was trained on.
    private static let largestSide = 1 << 20

    /// Width and height in pixels, as 1024x768.
    static func extent(_ text: String) throws -> SizeConditioning.Extent {
        let sides = text.lowercased().split(separator: "x", omittingEmptySubsequences: false).compactMap { Int($0) }
        guard sides.count == 2, sides.allSatisfy({ 1...largestSide ~= $0 }) else {
            throw ValidationError("it must be a size such as 1024x768")
        }
        return SizeConditioning.Extent(height: sides[1], width: sides[0])
    }

    /// Pixels from the left and from the top, as 0,128.
    static func corner(_ text: String) throws -> SizeConditioning.Extent {
        guard let sides = list(text, { Int($0) }), sides.count == 2, sides.allSatisfy({ 0...largestSide ~= $0 }) else {
            throw ValidationError("it must be two whole numbers such as 0,128")
        }
        return SizeConditioning.Extent(height: sides[1], width: sides[0])
    }

    /// Bytes, as 3GiB, 800MiB, 2GB or 500000000.
    static func memory(_ text: String) throws -> Int {
        let units = [
            "gib": 1 << 30, "mib": 1 << 20, "kib": 1 << 10, "gb": 1_000_000_000, "mb": 1_000_000, "kb": 1000,
            "g": 1 << 30, "m": 1 << 20, "k": 1 << 10, "b": 1, "": 1,
        ]
        let lowered = text.lowercased()
        let digits = lowered.prefix { $0.isNumber || $0 == "." }
        let unit = lowered.dropFirst(digits.count).trimmingCharacters(in: .whitespaces)
        guard let number = Double(digits), let factor = units[unit], (1..<0x1p62).contains(number * Double(factor))
        else {
            throw ValidationError("it must be a size such as 3GiB or 800MiB")
        }
        return Int(number * Double(factor))
    }
}
