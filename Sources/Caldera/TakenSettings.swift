import CalderaDiffusion
import CalderaGraph

extension LoadedModel {
    /// Throws usage errors for settings that would be without effect: neither this model nor the refiner has a use for
    /// them.
    func checkTaken(_ request: GenerationRequest, refiner: LoadedModel?) throws {
        let sizes = request.sizes
        let unset = SizeConditioning()
        let asksForSize = (sizes.original, sizes.crop, sizes.target) != (unset.original, unset.crop, unset.target)
        if asksForSize, !parts.unet.config.addsTextTime {
            throw CalderaError.usage(
                "\(name) is told no sizes, as SDXL models are: leave out --original-size, --crop and --target-size.")
        }
        let asksForScore =
            (sizes.aestheticScore, sizes.negativeAestheticScore)
            != (unset.aestheticScore, unset.negativeAestheticScore)
        if asksForScore, !parts.requiresAestheticsScore, refiner == nil {
            throw CalderaError.usage(
                "\(name) is told no score, as SDXL refiners are: leave out --aesthetic-score and "
                    + "--negative-aesthetic-score.")
        }
        try checkEta(request)
    }

    private func checkEta(_ request: GenerationRequest) throws {
        guard request.eta != nil else { return }
        let name = try request.scheduler ?? parts.scheduler.className()
        guard let type = name.flatMap(SchedulerRegistry.find) else { return }
        guard type == DDIMScheduler.self || type == TCDScheduler.self else {
            throw CalderaError.usage("\(type.className) takes no eta, as DDIM and TCD do: leave out --eta.")
        }
    }
}
