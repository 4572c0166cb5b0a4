import CalderaDiffusion
import CalderaFormats
import CalderaGraph
import Foundation

/// The parameters of a picture in the web UI's words, so that it, its relatives, and Caldera can make the picture again.
struct Infotext {
    let model: LoadedModel
    let refiner: LoadedModel?
    let options: ModelOptions
    /// The request as it was written, with the tags in its prompt.
    let written: GenerationRequest

    func text(_ call: PipelineRequest, _ draw: PictureSeeds.Draw) throws -> String {
        let scheduler = try model.parts.scheduler(for: call)
        return GenerationParameters(
            prompt: written.prompt, negativePrompt: written.negativePrompt ?? "", steps: call.steps,
            sampler: scheduler.webLabel, scheduleType: scheduler.scheduleType, guidanceScale: call.guidanceScale,
            seed: draw.seed, width: call.width, height: call.height, model: model.name,
            extra: fields(call, draw).map { GenerationParameters.Field($0, $1) },
            version: "Caldera \(CalderaVersion.current)"
        ).text
    }

    /// The settings that are not every picture's.
    private func fields(_ call: PipelineRequest, _ draw: PictureSeeds.Draw) -> [(String, String)] {
        var fields: [(String, String)] = []
        if let short = written.shortPrompt { fields.append(("Short prompt", short)) }
        if let path = options.autoencoder { fields.append(("VAE", URL(fileURLWithPath: path).lastPathComponent)) }
        if let source = call.source { fields.append(("Denoising strength", number(source.strength))) }
        if let skip = call.clipSkip { fields.append(("Clip skip", String(skip))) }
        if let variation = draw.variation {
            fields.append(("Variation seed", String(variation.seed)))
            fields.append(("Variation seed strength", number(variation.strength)))
        }
        if let eta = call.eta { fields.append(("Eta", number(eta))) }
        if call.guidanceRescale > 0 { fields.append(("CFG Rescale φ", number(call.guidanceRescale))) }
        fields.append(("RNG", call.seeds.source == .cpu ? "CPU" : "NV"))
        if let refiner, let start = call.refinerStart {
            fields.append(("Refiner", refiner.name))
            fields.append(("Refiner switch at", number(start)))
        }
        return fields
    }

    private func number(_ value: Double) -> String { Int(exactly: value).map(String.init) ?? String(value) }
}
