/// Pseudo linear multistep sampling (Liu et al. 2022, "Pseudo Numerical Methods for Diffusion Models on Manifolds",
/// equations 9 and 12), as diffusers' PNDMScheduler with skip_prk_steps: the first step is made twice, the second time
/// with the mean of the slopes at its ends. The latent is variance-preserving: x = sqrt(ᾱ)·x0 + sqrt(1 - ᾱ)·ε.
package struct PNDMScheduler: Scheduler {
    package static let className = "PNDMScheduler"
    package static let shortNames = ["pndm", "plms"]
    package static let webLabel = "PLMS"

    private let noise: NoiseSchedule
    private let grid: TimestepGrid
    private let prediction: PredictionType
    /// ᾱ after the last step.
    private let finalAlphaCumprod: Double

    /// A missing skip_prk_steps counts as true although the diffusers class would start with Runge-Kutta steps: all
    /// Stable Diffusion models skip them, and those steps have more to remember than a sampling loop keeps.
    package init(config: SchedulerConfig) throws {
        noise = try NoiseSchedule(config: config, zeroSNR: .ignored)
        grid = try TimestepGrid(config: config, defaultSpacing: .leading)
        prediction = try config.prediction(of: Self.self, without: .sample)
        let endsClean = try config.flag("set_alpha_to_one", default: false)
        finalAlphaCumprod = endsClean ? 1 : Double(noise.alphasCumprod[0])
        guard try config.flag("skip_prk_steps", default: true) else {
            throw config.error("skip_prk_steps", "is false, which is not supported; set it to true")
        }
    }

    package func schedule(_ request: ScheduleRequest) throws -> Schedule {
        try request.refuseGrid(for: Self.self)
        let whole = try grid.whole(steps: request.steps)
        let timesteps = whole.prefix(2) + whole.dropFirst()
        let stride = noise.trainSteps / request.steps
        let sampling = SamplingGrid.preserving(
            timesteps: Array(timesteps), noise: noise, final: alphaCumprod(timesteps[timesteps.count - 1] - stride))
        return try sampling.schedule(for: Self.self, prediction: prediction, from: request) { index in
            let timestep = timesteps[index]
            // Evaluations are counted from the first that is made, wherever on the grid it lies.
            let isRepeat = index - request.first == 1
            let (start, end) = isRepeat ? (timestep + stride, timestep) : (timestep, timestep - stride)
            return move(evaluation: index - request.first, from: alphaCumprod(start), to: alphaCumprod(end))
        }
    }

    /// Below the first training timestep lies the final value.
    private func alphaCumprod(_ timestep: Int) -> Double {
        timestep < 0 ? finalAlphaCumprod : Double(noise.alphasCumprod[timestep])
    }

    /// States 1 to 3 keep the last outputs, newest first; for the repeated step state 2 keeps the latents before it.
    private func move(evaluation: Int, from alpha: Double, to next: Double) -> Move {
        let (now, last, second, third) = (
            LinearForm.modelOutput, LinearForm.state(1), LinearForm.state(2), LinearForm.state(3)
        )
        func step(_ start: LinearForm, _ output: LinearForm) -> LinearForm {
            update(start, output, from: alpha, to: next)
        }
        switch evaluation {
        case 0: return Move(updates: [step(.latent, now), now, .latent])
        case 1: return Move(updates: [step(second, 0.5 * (now + last)), last])
        case 2: return Move(updates: [step(.latent, (3 * now - last) / 2), now, last])
        case 3: return Move(updates: [step(.latent, (23 * now - 16 * last + 5 * second) / 12), now, last, second])
        default:
            let slope = (55 * now - 59 * last + 37 * second - 9 * third) / 24
            return Move(updates: [step(.latent, slope), now, last, second])
        }
    }

    /// Equation 9 from `start` with the combined output of the model.
    private func update(
        _ start: LinearForm, _ output: LinearForm, from alpha: Double, to next: Double
    ) -> LinearForm {
        let isNoise = prediction == .epsilon
        let noise = isNoise ? output : alpha.squareRoot() * output + (1 - alpha).squareRoot() * start
        let divisor = alpha * (1 - next).squareRoot() + (alpha * (1 - alpha) * next).squareRoot()
        return (next / alpha).squareRoot() * start - ((next - alpha) / divisor) * noise
    }
}
