import CalderaGraph

/// Device bytes that a request will take, known before anything is allocated.
package struct MemoryPrediction: Sendable {
    /// One part of the work, alone.
    package struct Part: Sendable {
        package let name: String
        package let forecast: MemoryForecast
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

    /// The plans that a request of one picture runs, in their order.
    package func plans(_ request: PipelineRequest) throws -> [(name: String, plan: Plan, weights: any WeightSource)] {
        let stages = try stages(request)
        let encoders = try stages.flatMap { stage in
            let plans = stage.denoiser.plans
            return try plans.parts.encoders.map { encoder in
                let batch = plans.parts.guides(request) ? 2 : 1
                return (encoder.name, try plans.encoder(encoder, batch: batch), encoder.weights)
            }
        }
        let denoisers = try stages.map { stage in
            let plans = stage.denoiser.plans
            let graph = plans.denoising(request, schedule: stage.schedule, pictures: request.pictures)
            return ("unet", try plans.denoiser(graph), plans.parts.unetWeights)
        }
        let decoder = try coder(request.tiling).decoderPlan(height: request.height, width: request.width)
        return encoders + denoisers + [("vae decoder", decoder, parts.autoencoderWeights)]
    }

    /// What a request takes, with prompts of one chunk. Throws where a part has no plan.
    package func predictMemory(_ request: PipelineRequest) throws -> MemoryPrediction {
        let available = availableMemory
        let parts = try plans(request).map { name, plan, weights in
            MemoryPrediction.Part(
                name: name, forecast: try backend.forecast(plan, weights: weights, budget: available))
        }
        let alone = parts.map(\.forecast.total).max() ?? 0
        let denoisers = parts.filter { $0.name == "unet" }
        guard denoisers.count == 1, let decoder = parts.last else {
            return MemoryPrediction(parts: parts, peak: alone)
        }
        let together = denoisers[0].forecast.total + decoder.forecast.total
        let fits = available.map { together <= $0 } ?? true
        return MemoryPrediction(parts: parts, peak: fits ? max(alone, together) : alone)
    }
}
