import CalderaGraph
import Foundation

/// An adapter that someone asked for: which one, and how strongly in each part of the model.
public struct AdapterSpec: Sendable, Hashable {
    /// A path, or in a prompt the name of a file in the adapter folder.
    public let name: String
    public let textWeight: Double
    public let unetWeight: Double

    public init(_ name: String, textWeight: Double = 1, unetWeight: Double = 1) {
        self.name = name
        self.textWeight = textWeight
        self.unetWeight = unetWeight
    }

    /// An argument of the command line: `PATH`, `PATH:WEIGHT`, or `PATH:TEXT,UNET` with one weight for the text
    /// encoders and one for the UNet. What is as a whole the path of a file is taken as that.
    /// Throws a usage error when there is no path, or what follows the last colon of an existing path is no weight.
    public init(argument: String) throws {
        guard !argument.isEmpty else { throw CalderaError.usage("The path of a LoRA is empty.") }
        guard let colon = argument.lastIndex(of: ":"), !FileManager.default.fileExists(atPath: argument) else {
            self.init(argument)
            return
        }
        let path = String(argument[..<colon])
        let text = argument[argument.index(after: colon)...]
        let weights = text.split(separator: ",", omittingEmptySubsequences: false).map { Self.weight(String($0)) }
        switch weights.count {
        case _ where path.isEmpty:
            throw CalderaError.usage("\"\(argument)\" has no path before its weight: write PATH:WEIGHT.")
        case 1...2 where weights.allSatisfy({ $0 != nil }):
            let found = weights.compactMap(\.self)
            self.init(path, textWeight: found[0], unetWeight: found[found.count - 1])
        case _ where FileManager.default.fileExists(atPath: path):
            throw CalderaError.usage(
                "\"\(text)\" is no weight for \(path): write a number, or two as TEXT,UNET.")
        default:
            self.init(argument)
        }
    }

    static func weight(_ text: String) -> Double? {
        guard let weight = Double(text), weight.isFinite else { return nil }
        return weight
    }
}
