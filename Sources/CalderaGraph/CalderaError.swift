/// The one error type that reaches a person: a sentence that names the thing at fault and, where there is one, the remedy.
///
/// `kind` decides the exit code of the program: a failed job exits with 1, bad usage with 2.
public struct CalderaError: Error, CustomStringConvertible, Equatable {
    public enum Kind: Sendable, Equatable {
        /// The job was understood but could not be done: a broken file, no memory, no device.
        case failed
        /// The request itself is wrong: an impossible size, an unknown scheduler name.
        case usage
    }

    public let kind: Kind
    public let message: String

    public init(_ message: String, kind: Kind = .failed) {
        self.kind = kind
        self.message = message
    }

    /// Bad usage: an argument that no model or machine could satisfy.
    public static func usage(_ message: String) -> CalderaError { CalderaError(message, kind: .usage) }

    public var description: String { message }
}
