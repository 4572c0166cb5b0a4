import CalderaDiffusion
import Foundation

/// Runs a schedule's coefficients as a device does, with the model 0.9·tanh(x) + 0.05·sin(t/100) that the golden
/// tables were made with, and ancestral noise from torch's stream for seed 42.
enum ToySampler {
    private static let seed: UInt64 = 42

    /// The latent after each step, computed in `Real`.
    static func trajectory<Real: BinaryFloatingPoint>(
        of schedule: Schedule, from initial: [Float], as _: Real.Type
    ) -> [[Double]] {
        var random = TorchRandom(seed: seed)
        var path = schedule.steps.first?.brownian.map {
            BrownianPath(seed: seed, count: initial.count, path: $0.path)
        }
        var states = [[Real]](
            repeating: initial.map { Real($0) * Real(schedule.initNoiseSigma) }, count: schedule.stateCount)
        return schedule.steps.map { step in
            let noise = Self.noise(of: step, count: initial.count, &random, &path)
            let outputs = states[0].map { latent in
                Real(model(Double(Real(step.inputScale) * latent), Double(step.timestep)))
            }
            let old = states
            for (index, update) in step.updates.enumerated() {
                states[index] = initial.indices.map { element in
                    let kept = old.enumerated().reduce(Real(0)) {
                        $0 + Real(update.state($1.offset)) * $1.element[element]
                    }
                    return kept + Real(update.output) * outputs[element] + Real(update.noise) * Real(noise[element])
                }
            }
            return states[0].map { Double($0) }
        }
    }

    private static func noise(
        of step: StepCoefficients, count: Int, _ random: inout TorchRandom, _ path: inout BrownianPath?
    ) -> [Float] {
        let zeros = [Float](repeating: 0, count: count)
        if let span = step.brownian { return path?.noise(over: span) ?? zeros }
        return step.drawsNoise ? random.normal(count: count) : zeros
    }

    private static func model(_ scaled: Double, _ timestep: Double) -> Double {
        0.9 * tanh(scaled) + 0.05 * sin(timestep / 100)
    }
}
