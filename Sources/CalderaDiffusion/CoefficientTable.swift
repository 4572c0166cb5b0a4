import CalderaGraph

/// Where each factor of a sampling step stands in the table of coefficients that the device reads, one row a step.
struct CoefficientTable: Hashable {
    /// States that the loop keeps, the latents included.
    let states: Int

    /// What the model's input is of the latents.
    let input = 0
    /// The guided output is (1 - g)·unguided + g·prompted.
    let unguided = 1
    let prompted = 2
    /// How much of the guided output is rescaled to the deviation of the prompted one.
    let rescale = 3
    /// What the known part of the picture holds behind the step, of itself and of noise.
    let knownImage = 4
    let knownNoise = 5
    /// What the estimate of the finished picture is of the latents and of the guided output.
    let previewLatents = 6
    let previewOutput = 7

    /// What state `target` becomes of state `source`.
    func state(_ source: Int, of target: Int) -> Int { first(target) + source }
    /// What state `target` becomes of the guided output.
    func output(of target: Int) -> Int { first(target) + states }
    /// What state `target` becomes of the noise.
    func noise(of target: Int) -> Int { first(target) + states + 1 }

    var columns: Int { first(states) }

    private func first(_ target: Int) -> Int { 8 + target * (states + 2) }

    /// The table of a schedule under a guidance scale g; Ho and Salimans, "Classifier-Free Diffusion Guidance" (2022),
    /// equation 6, with the scale counted as Imagen and diffusers do. fp32 [steps, columns].
    func rows(_ schedule: Schedule, guidanceScale: Double, guidanceRescale: Double) -> HostTensor {
        let rows = schedule.steps.flatMap { step -> [Float] in
            var row = [Float](repeating: 0, count: columns)
            row[input] = Float(step.inputScale)
            row[unguided] = Float(1 - guidanceScale)
            row[prompted] = Float(guidanceScale)
            row[rescale] = Float(guidanceRescale)
            row[knownImage] = Float(step.level.image)
            row[knownNoise] = Float(step.level.noise)
            row[previewLatents] = Float(step.estimate.state(0))
            row[previewOutput] = Float(step.estimate.output)
            for (target, update) in step.updates.enumerated() {
                for source in 0..<states { row[state(source, of: target)] = Float(update.state(source)) }
                row[output(of: target)] = Float(update.output)
                row[noise(of: target)] = Float(update.noise)
            }
            return row
        }
        return HostTensor([schedule.steps.count, columns], rows)
    }
}
