import CalderaGraph
import Foundation

/// Weights of which some are multiplied: a network that computes the same picture, or nearly, in another range of numbers.
///
/// `Fixtures/networks/overflow` has factors, made by `Tools/goldens/networks.py`, under which the activations of the
/// tiny SDXL decoder exceed fp16's largest number, 65,504, while every weight fits.
package final class ScaledWeights: WeightSource {
    private let base: any WeightSource
    private let factors: [String: Float]

    /// Every tensor that `factors` names must be fp32.
    package init(_ base: any WeightSource, factors: [String: Float]) {
        self.base = base
        self.factors = factors
    }

    /// Reads the factors from a JSON object of tensor names and numbers.
    /// Throws `CalderaError` when the file cannot be read or is no such object.
    package convenience init(_ base: any WeightSource, factors file: URL) throws {
        do {
            let factors = try JSONDecoder().decode([String: Float].self, from: Data(contentsOf: file))
            self.init(base, factors: factors)
        } catch {
            throw CalderaError("\(file.path) is not a list of factors: \(error)")
        }
    }

    package var names: [String] { base.names }

    package func info(_ name: String) -> WeightInfo? { base.info(name) }

    package func withBytes<Result>(_ name: String, _ body: (UnsafeRawBufferPointer) throws -> Result) throws -> Result {
        guard let factor = factors[name] else { return try base.withBytes(name, body) }
        guard base.info(name)?.dtype == .float32 else {
            throw CalderaError("The weight \(name) is not fp32, so that it cannot be scaled exactly.")
        }
        let values = try base.withBytes(name) { bytes in
            ElementCoding.decoded(bytes, as: .float32).map { Float($0) * factor }
        }
        return try values.withUnsafeBytes(body)
    }
}
