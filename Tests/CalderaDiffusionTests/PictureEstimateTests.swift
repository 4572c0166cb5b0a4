import CalderaDiffusion
import Foundation
import Testing

/// What previews show: the finished latents as the model sees them at each evaluation.
@Suite struct PictureEstimateTests {
    /// With a model that knows the picture x0 whatever it is given, every estimate is x0, and so are the last latents.
    @Test("A model that knows the picture is understood at every evaluation", arguments: names)
    func knownPicture(name: String) throws {
        for prediction in predictions(name) {
            let schedule = try schedule(name, prediction)
            let known = 0.75
            var random = TorchRandom(seed: 5)
            let first = Double(random.normal(count: 1)[0]) * schedule.initNoiseSigma
            var states = [Double](repeating: 0, count: schedule.stateCount)
            states[0] = schedule.start.image * known + first
            for (index, step) in schedule.steps.enumerated() {
                // The output that stands for x0: the estimate is linear in it.
                let output = (known - step.estimate.state(0) * states[0]) / step.estimate.output
                #expect(output.isFinite, "\(name) \(prediction) \(index)")
                let model = KnownPicture(name: name, prediction: prediction, known: known)
                let wanted = model.output(step, latent: states[0])
                #expect(abs(output - wanted) <= 2e-3 * max(1, abs(wanted)), "\(name) \(prediction) step \(index)")
                let old = states
                for (target, update) in step.updates.enumerated() {
                    let kept = old.indices.reduce(0) { $0 + update.state($1) * old[$1] }
                    states[target] = kept + update.output * output + update.noise * Double(random.normal(count: 1)[0])
                }
            }
            #expect(abs(states[0] - known) < 0.05, "\(name) \(prediction): \(states[0])")
        }
    }

    @Test("Estimates are finite, also without signal at the first timestep", arguments: names)
    func finite(name: String) throws {
        for prediction in predictions(name) {
            for extra in [#""rescale_betas_zero_snr": false"#, #""rescale_betas_zero_snr": true"#] {
                guard let schedule = try? schedule(name, prediction, extra) else { continue }
                for step in schedule.steps {
                    #expect(step.estimate.state(0).isFinite && step.estimate.output.isFinite, "\(name) \(prediction)")
                }
            }
        }
    }

    static let names = SchedulerRegistry.listedNames

    private func predictions(_ name: String) -> [String] {
        name.hasPrefix("edm") ? ["epsilon", "v_prediction"] : ["epsilon", "v_prediction"]
    }

    private func schedule(_ name: String, _ prediction: String, _ extra: String = #""steps_offset": 1"#) throws
        -> Schedule
    {
        let config = try schedulerConfig(
            #"{"prediction_type": "\#(prediction)", "beta_schedule": "scaled_linear", "beta_start": 0.00085, "#
                + #""beta_end": 0.012, "clip_sample": false, \#(extra)}"#)
        return try SchedulerRegistry.make(name: name, config: config).schedule(steps: 9)
    }
}

/// A model that sees how much noise there is by its timestep alone, as a trained one does.
private struct KnownPicture {
    let name: String
    let prediction: String
    let known: Double

    func output(_ step: StepCoefficients, latent: Double) -> Double {
        let input = step.inputScale * latent
        if name.hasPrefix("edm") { return preconditioned(step, latent: latent) }
        let alpha = alphaCumprod(Double(step.timestep))
        let (signal, noise) = (alpha.squareRoot(), (1 - alpha).squareRoot())
        let epsilon = (input - signal * known) / noise
        return prediction == "epsilon" ? epsilon : signal * epsilon - noise * known
    }

    /// Karras et al. 2022, table 1: F = (x0 - c_skip·x) / c_out with σ = exp(4·t) and a data deviation of 0.5.
    private func preconditioned(_ step: StepCoefficients, latent: Double) -> Double {
        let sigma = exp(4 * Double(step.timestep))
        let total = sigma * sigma + 0.25
        let scale = 0.5 * sigma / total.squareRoot()
        return (known - 0.25 / total * latent) / (prediction == "epsilon" ? scale : -scale)
    }

    /// Between two training timesteps ln σ is linear.
    private func alphaCumprod(_ timestep: Double) -> Double {
        func logSigma(_ index: Int) -> Double {
            let alpha = Self.alphas[min(max(index, 0), 999)]
            return 0.5 * log((1 - alpha) / alpha)
        }
        let low = Int(timestep.rounded(.down))
        let share = timestep - Double(low)
        let sigma = exp((1 - share) * logSigma(low) + share * logSigma(low + 1))
        return 1 / (1 + sigma * sigma)
    }

    private static let alphas: [Double] = {
        var product = 1.0
        return (0..<1000).map { index in
            let root = 0.00085.squareRoot() + (0.012.squareRoot() - 0.00085.squareRoot()) * Double(index) / 999
            product *= 1 - root * root
            return product
        }
    }()
}
