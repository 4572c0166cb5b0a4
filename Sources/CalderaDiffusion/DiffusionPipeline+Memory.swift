import CalderaGraph

/// Device bytes that a request will take, known before anything is allocated.
package struct MemoryPrediction: Sendable {
    /// One part of the work, alone.
    package struct Part: Sendable {
        package let name: String
        package let forecast: MemoryForecast
        /// How the picture is cut; nil for a part that works on all of it.
        package let tiles: TileLayout?
    }

    /// Tiles of one size, in pixels.
    package struct TileLayout: Sendable {
        package let count: Int
        package let width: Int
        package let height: Int
    }

    /// In the order in which they run.
    package let parts: [Part]
    /// The most that is allocated at any time: a UNet stays while the decoder runs, where both fit.
    package let peak: Int
}

extension DiffusionPipeline {
    /// Whether a batch of `pictures` denoises within `available` bytes with no more weights streamed than one picture.
    package func keepsWeights(_ request: PipelineRequest, pictures: Int, within available: Int) throws -> Bool {
        try stages(request).allSatisfy { stage in
            let plans = stage.denoiser.plans
            func streamed(_ pictures: Int) throws -> (bytes: Int, fits: Bool) {
                let graph = plans.denoising(request, schedule: stage.schedule, pictures: pictures)
                let forecast = try backend.forecast(
                    plans.denoiser(graph), weights: plans.parts.unetWeights, budget: available)
                return (forecast.streamedWeights, forecast.total <= available)
            }
            let (single, batch) = (try streamed(1), try streamed(pictures))
            return batch.fits && batch.bytes <= single.bytes
        }
    }

    /// The plans that a request of one picture runs, in their order; of a picture on tiles that of one tile.
    package func plans(_ request: PipelineRequest) throws -> [PlannedWork] {
        let (encoders, denoisers) = (try textEncoders(request), try denoisers(request))
        let available = availableMemory
        let decoder = try decoding(request, beside: try held(denoisers, within: available), within: available).work
        return encoders + denoisers + [("vae decoder", decoder.plan, decoder.weights)]
    }

    /// What a request takes, with prompts of one chunk. Throws where a part has no plan.
    package func predictMemory(_ request: PipelineRequest) throws -> MemoryPrediction {
        let available = availableMemory
        func part(_ work: PlannedWork) throws -> MemoryPrediction.Part {
            let forecast = try backend.forecast(work.plan, weights: work.weights, budget: available)
            return MemoryPrediction.Part(name: work.name, forecast: forecast, tiles: nil)
        }
        func part(_ name: String, _ work: LatentWork, _ budget: Int?) throws -> MemoryPrediction.Part {
            let forecast = try work.forecast(backend, budget: budget).memory
            return MemoryPrediction.Part(name: name, forecast: forecast, tiles: work.tileLayout)
        }
        var parts = try textEncoders(request).map(part)
        if let encoder = try encoding(request, within: available) {
            parts.append(try part("vae encoder", encoder, available))
        }
        let denoisers = try denoisers(request)
        parts += try denoisers.map(part)
        let held = try held(denoisers, within: available)
        let choice = try decoding(request, beside: held, within: available)
        let beside = choice.keepsOthers ? held : 0
        let decoder = try part("vae decoder", choice.work, available.map { max(0, $0 - beside) })
        let peak = parts.map(\.forecast.total).max() ?? 0
        return MemoryPrediction(parts: parts + [decoder], peak: max(peak, beside + decoder.forecast.total))
    }

    /// The least that each part takes, with all weights streamed and the smallest tiles where tiles may be.
    package func leastMemory(_ request: PipelineRequest) throws -> [(name: String, bytes: Int)] {
        let works = try textEncoders(request) + denoisers(request)
        let coders = [
            ("vae encoder", try encoding(request, within: 0)),
            ("vae decoder", try decoding(request, beside: 0, within: 0).work),
        ]
        return try works.map { work in
            (work.name, try backend.forecast(work.plan, weights: work.weights, budget: 0).total)
        }
            + coders.compactMap { name, work in
                try work.map { (name, try $0.forecast(backend, budget: 0).memory.total) }
            }
    }

    /// Throws where the picture could never be decoded: a system that lends more memory than it has would end the process
    /// later, without a word.
    func checkDecoder(_ request: PipelineRequest) throws {
        guard let available = availableMemory else { return }
        let least = try decoding(request, beside: 0, within: available).work.forecast(backend, budget: 0).memory.total
        if least <= available { return }
        throw CalderaError(
            "The decoder needs \(least >> 20) MiB at this size and \(backend.name) has \(available >> 20) MiB left: "
                + "choose a smaller picture or count, or a lower precision.")
    }

    // MARK: Parts

    package typealias PlannedWork = (name: String, plan: Plan, weights: any WeightSource)

    private func textEncoders(_ request: PipelineRequest) throws -> [PlannedWork] {
        try stages(request).flatMap { stage in
            let plans = stage.denoiser.plans
            let batch = plans.parts.guides(request) ? 2 : 1
            return try plans.parts.encoders.map { ($0.name, try plans.encoder($0, batch: batch), $0.weights) }
        }
    }

    private func denoisers(_ request: PipelineRequest) throws -> [PlannedWork] {
        try stages(request).map { stage in
            let plans = stage.denoiser.plans
            let graph = plans.denoising(request, schedule: stage.schedule, pictures: request.pictures)
            return ("unet", try plans.denoiser(graph), plans.parts.unetWeights)
        }
    }

    /// Bytes that a UNet holds when the decoder comes: of two, neither is there any more.
    private func held(_ denoisers: [PlannedWork], within available: Int?) throws -> Int {
        guard denoisers.count == 1 else { return 0 }
        let forecast = try backend.forecast(denoisers[0].plan, weights: denoisers[0].weights, budget: available)
        return forecast.total - forecast.staging
    }

    /// What encodes the picture to start from; nil where there is none.
    private func encoding(_ request: PipelineRequest, within available: Int?) throws -> LatentWork? {
        guard request.source != nil else { return nil }
        return try work(.encoder, request, beside: 0, within: available).work
    }

    /// - Parameter held: bytes of a UNet that stays where both fit.
    private func decoding(
        _ request: PipelineRequest, beside held: Int, within available: Int?
    ) throws -> LatentCoder.Choice {
        try work(.decoder, request, beside: held, within: available)
    }

    private func work(
        _ direction: LatentWork.Direction, _ request: PipelineRequest, beside held: Int, within available: Int?
    ) throws -> LatentCoder.Choice {
        let scale = parts.autoencoder.downscale
        let coder = self.coder(request.tiling)
        return try coder.work(
            direction, height: request.height / scale, width: request.width / scale, coder.plans.autoencoderDType,
            beside: available.map { max(0, $0 - held) }, alone: available)
    }
}
