import CalderaDiffusion
import CalderaGraph

extension LoadedModel {
    /// The request with every default filled in. Throws usage errors for sizes, steps, counts, scales and scheduler names
    /// that no run could have.
    func resolved(_ request: GenerationRequest) throws -> TextToImageRequest {
        let width = request.width ?? defaults.width
        let height = request.height ?? defaults.height
        try check(width, "width")
        try check(height, "height")
        let steps = request.steps ?? defaults.steps
        guard steps >= 1 else { throw CalderaError.usage("\(steps) steps make no picture: at least 1 is needed.") }
        guard (1...10_000).contains(request.count) else {
            throw CalderaError.usage("A count of \(request.count) cannot be made: choose from 1 to 10000 pictures.")
        }
        let guidance = request.guidanceScale ?? defaults.guidanceScale
        guard guidance.isFinite, (0...1000).contains(guidance) else {
            throw CalderaError.usage("A guidance scale of \(guidance) is out of range: choose from 0 to 1000.")
        }
        _ = try scheduler(request.scheduler).schedule(steps: steps)
        let seed = request.seed ?? UInt64.random(in: 0...UInt64(UInt32.max))
        return TextToImageRequest(
            prompt: request.prompt, negativePrompt: request.negativePrompt, width: width, height: height, steps: steps,
            guidanceScale: guidance, seeds: (0..<request.count).map { seed &+ UInt64($0) },
            scheduler: request.scheduler)
    }

    /// The scheduler of that name, or the model's own. Throws for one that Caldera does not have.
    func scheduler(_ name: String?) throws -> any Scheduler {
        try SchedulerRegistry.make(name: name, config: parts.scheduler)
    }

    /// The denoiser's graph for one picture of the request.
    func denoising(_ request: TextToImageRequest, _ plans: PipelinePlans) throws -> DenoisingGraph {
        let schedule = try scheduler(request.scheduler).schedule(steps: request.steps)
        return plans.denoising(request, schedule: schedule, pictures: 1)
    }

    private func check(_ pixels: Int, _ name: String) throws {
        let unit = parts.autoencoder.config.downscale
        let largest = 16_384
        guard pixels >= unit, pixels <= largest, pixels % unit == 0 else {
            throw CalderaError.usage(
                "A \(name) of \(pixels) pixels is impossible: choose a multiple of \(unit) from \(unit) to \(largest).")
        }
    }
}
