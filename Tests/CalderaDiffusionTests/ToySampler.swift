import CalderaDiffusion
import Foundation

/// Runs a schedule's coefficients as a device does, with the model 0.9·tanh(x) + 0.05·sin(t/100) that the golden
/// tables were made with, and ancestral noise from torch's stream for seed 42.
enum ToySampler {
    /// The latent after each step, computed in `Real`.
    static func trajectory<Real: BinaryFloatingPoint>(
        of schedule: Schedule, from initial: [Float], as _: Real.Type
    ) -> [[Double]] {
        var random = TorchRandom(seed: 42)
        var latent = initial.map { Real($0) * Real(schedule.initNoiseSigma) }
        return schedule.steps.map { step in
            let noise = schedule.usesNoise ? random.normal(count: latent.count) : []
            for index in latent.indices {
                let scaled = Real(step.inputScale) * latent[index]
                let output = Real(model(Double(scaled), Double(step.timestep)))
                latent[index] = Real(step.sample) * latent[index] + Real(step.output) * output
                if schedule.usesNoise { latent[index] += Real(step.noise) * Real(noise[index]) }
            }
            return latent.map { Double($0) }
        }
    }

    private static func model(_ scaled: Double, _ timestep: Double) -> Double {
        0.9 * tanh(scaled) + 0.05 * sin(timestep / 100)
    }
}
