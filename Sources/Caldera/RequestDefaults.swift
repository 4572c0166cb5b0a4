import CalderaDiffusion
import CalderaGraph

extension LoadedModel {
    /// The request with every default filled in. Throws usage errors for sizes, steps, counts, scales and scheduler names
    /// that no run could have.
    func resolved(_ request: GenerationRequest, refines: Bool = false) throws -> PipelineRequest {
        let pictures = try request.source.map(SourcePictures.init)
        let unit = parts.autoencoder.downscale
        let size = pictures?.size(unit: unit) ?? (width: defaults.width, height: defaults.height)
        let width = request.width ?? size.width
        let height = request.height ?? size.height
        try check(width, "width")
        try check(height, "height")
        try checkStart(request)
        guard (1...10_000).contains(request.count) else {
            throw CalderaError.usage("A count of \(request.count) cannot be made: choose from 1 to 10000 pictures.")
        }
        var resolved = PipelineRequest(
            prompt: request.prompt, negativePrompt: request.negativePrompt, width: width, height: height,
            steps: try steps(request), guidanceScale: try guidance(request), seeds: seeds(request),
            scheduler: request.scheduler)
        resolved.promptSyntax = request.promptSyntax
        resolved.clipSkip = request.clipSkip
        resolved.guidanceRescale = request.guidanceRescale
        resolved.eta = request.eta
        resolved.grid = request.grid?.schedule
        resolved.source = try pictures.map { pictures in
            try pictures.prepared(width: width, height: height, strength: strength(request, pictures))
        }
        resolved.refinerStart = refines ? request.refinerStart : nil
        resolved.sizes = request.sizes
        resolved.tiling = request.tiling
        _ = try parts.schedule(resolved)
        return resolved
    }

    /// A picture of that size with the model's own defaults, for what is planned and never run.
    package func planned(width: Int?, height: Int?) throws -> PipelineRequest {
        let (width, height) = (width ?? defaults.width, height ?? defaults.height)
        try check(width, "width")
        try check(height, "height")
        return PipelineRequest(
            prompt: "", negativePrompt: nil, width: width, height: height, steps: defaults.steps,
            guidanceScale: defaults.guidanceScale, seeds: PictureSeeds(seeds: [0]), scheduler: nil)
    }

    /// A refiner changes pictures and an inpainting model fills masks; neither makes a picture from nothing.
    private func checkStart(_ request: GenerationRequest) throws {
        if parts.requiresAestheticsScore, request.source == nil {
            throw CalderaError.usage(
                "\(name) is a refiner, which cannot make a picture from a prompt alone: give it one with --init-image, or "
                    + "name a base model with --model and this one with --refiner.")
        }
        if parts.takesMask, request.source?.mask == nil {
            throw CalderaError.usage("\(name) is an inpainting model: give it --init-image and --mask.")
        }
    }

    private func steps(_ request: GenerationRequest) throws -> Int {
        if let grid = request.grid { return grid.count }
        let steps = request.steps ?? defaults.steps
        guard steps >= 1 else { throw CalderaError.usage("\(steps) steps make no picture: at least 1 is needed.") }
        return steps
    }

    private func guidance(_ request: GenerationRequest) throws -> Double {
        let guidance = request.guidanceScale ?? defaults.guidanceScale
        guard guidance.isFinite, (0...1000).contains(guidance) else {
            throw CalderaError.usage("A guidance scale of \(guidance) is out of range: choose from 0 to 1000.")
        }
        guard (0...1).contains(request.guidanceRescale) else {
            throw CalderaError.usage(
                "A guidance rescale of \(request.guidanceRescale) is out of range: choose from 0 to 1.")
        }
        return guidance
    }

    /// The web UI's counting: seeds go up from picture to picture, or with a variation the variation's seeds do.
    private func seeds(_ request: GenerationRequest) -> PictureSeeds {
        let seed = request.seed ?? UInt64.random(in: 0...UInt64(UInt32.max))
        let draws = (0..<UInt64(request.count)).map { index in
            guard let variation = request.variation else { return PictureSeeds.Draw(seed: seed &+ index) }
            return PictureSeeds.Draw(
                seed: seed,
                variation: VariationNoise(seed: variation.seed &+ index, strength: variation.strength))
        }
        return PictureSeeds(draws: draws, source: request.randomSource)
    }

    /// diffusers' defaults: 0.8 for SD, 0.3 for SDXL, 1 for inpainting.
    private func strength(_ request: GenerationRequest, _ pictures: SourcePictures) throws -> Double {
        let usual = pictures.isMasked ? 1 : parts.family == .stableDiffusionXL ? 0.3 : 0.8
        let strength = request.source?.strength ?? usual
        guard (0...1).contains(strength) else {
            throw CalderaError.usage("A strength of \(strength) is out of range: choose from 0 to 1.")
        }
        return strength
    }

    private func check(_ pixels: Int, _ name: String) throws {
        let unit = parts.autoencoder.downscale
        let largest = 16_384
        guard pixels >= unit, pixels <= largest, pixels % unit == 0 else {
            throw CalderaError.usage(
                "A \(name) of \(pixels) pixels is impossible: choose a multiple of \(unit) from \(unit) to \(largest).")
        }
    }
}
