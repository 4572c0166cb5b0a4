import CalderaGraph
import Foundation

/// By how much each pair of a head's channels turns from one position to the next.
/// Reference: transformers `modeling_rope_utils.py`; Su et al., "RoFormer" (2021), section 3.2.
package struct RotaryFrequencies: Sendable, Equatable {
    /// Radians for each position, by pair; fp32, as transformers computes them.
    package let radians: [Float]

    /// Reads `rope_parameters`, or `rope_theta` and `rope_scaling`. The scalings `linear` and `llama3` change the
    /// frequencies; `dynamic` changes them only beyond `max_position_embeddings`, where no text goes here.
    /// GGUF files list what divides each frequency (`divided`). Throws `CalderaError` for any other scaling.
    package init(_ config: JSONConfig, headSize: Int) throws {
        let key = config.has("rope_parameters") ? "rope_parameters" : "rope_scaling"
        let settings = config.has(key) ? try config.object(key) : JSONConfig([:], path: config.path)
        let theta = try settings.double("rope_theta", default: try config.double("rope_theta", default: 10000))
        guard theta > 0, theta.isFinite else {
            throw CalderaError("\(config.path): rope_theta is \(theta), where a number above 0 is needed.")
        }
        let plain = (0..<headSize / 2).map { pair in
            1 / Float(pow(theta, Double(Float(2 * pair) / Float(headSize))))
        }
        // Older files write `type`.
        let name = try settings.string("rope_type", default: try settings.string("type", default: "default"))
        switch name {
        case "default", "dynamic":
            radians = plain
        case "linear":
            let factor = Float(try Self.positive(settings, "factor"))
            radians = plain.map { $0 / factor }
        case "divided":
            let divisors = try settings.doubles("divisors").map { Float($0) }
            guard divisors.count == plain.count, divisors.allSatisfy({ $0 > 0 && $0.isFinite }) else {
                throw CalderaError(
                    "\(config.path): \(plain.count) rope divisors above 0 are needed: the file is damaged.")
            }
            radians = zip(plain, divisors).map { $0 / $1 }
        case "llama3":
            let scaling = try Llama3Scaling(settings)
            radians = plain.map(scaling.scaled)
        default:
            throw CalderaError(
                "\(settings.path): the rope scaling \(name) is not one that Caldera computes: it knows default, linear, "
                    + "dynamic and llama3.")
        }
    }

    /// fp32 [positions, headSize]: for each position the cosines of all pairs, then their sines.
    package func table(positions: Int) -> HostTensor {
        var values: [Float] = []
        values.reserveCapacity(positions * radians.count * 2)
        for position in 0..<positions {
            // The angle is rounded to fp32 before its cosine is taken, as transformers does.
            let angles = radians.map { Double(Float(position) * $0) }
            values += angles.map { Float(cos($0)) }
            values += angles.map { Float(sin($0)) }
        }
        return HostTensor(Shape([positions, radians.count * 2]), values)
    }

    fileprivate static func positive(_ settings: JSONConfig, _ key: String) throws -> Double {
        let number = try settings.double(key)
        guard number > 0, number.isFinite else {
            throw CalderaError("\(settings.path): \(key) is \(number), where a number above 0 is needed.")
        }
        return number
    }
}

/// The scaling of Llama 3.1: slow turns are slowed down by `factor`, fast ones are kept, those between are mixed.
private struct Llama3Scaling {
    private let factor: Float
    private let low: Float
    private let high: Float
    private let trained: Float

    init(_ settings: JSONConfig) throws {
        factor = Float(try RotaryFrequencies.positive(settings, "factor"))
        low = Float(try RotaryFrequencies.positive(settings, "low_freq_factor"))
        high = Float(try RotaryFrequencies.positive(settings, "high_freq_factor"))
        trained = Float(try RotaryFrequencies.positive(settings, "original_max_position_embeddings"))
        guard low < high else {
            throw CalderaError("\(settings.path): low_freq_factor \(low) is not below high_freq_factor \(high).")
        }
    }

    func scaled(_ radians: Float) -> Float {
        let wavelength = 2 * Float.pi / radians
        if wavelength < trained / high { return radians }
        if wavelength > trained / low { return radians / factor }
        let share = (trained / wavelength - low) / (high - low)
        return (1 - share) * radians / factor + share * radians
    }
}
