import Caldera
import CalderaGraph
import Foundation

/// What `caldera generate --json` prints.
struct GenerationReport: Encodable {
    /// Seconds.
    struct Timings: Encodable {
        let load: Double
        let compile: Double
        let encode: Double
        /// The median of `denoiseSteps`.
        let denoisePerStep: Double
        let denoiseSteps: [Double]
        let decode: Double
        /// From the program's start of work until all files are written.
        let total: Double
    }

    let outputs: [String]
    let latents: String?
    let seeds: [UInt64]
    let prompt: String
    let negativePrompt: String?
    /// The model's path; null for the embedded one.
    let model: String?
    let width: Int
    let height: Int
    let steps: Int
    let guidanceScale: Double
    let scheduler: String
    let device: String
    let precision: String
    let timings: Timings
    let peakDeviceBytes: Int
    let peakHostBytes: Int

    init(
        _ result: GenerationResult, request: GenerationRequest, model: String?, outputs: [String], latents: String?,
        totalSeconds: Double
    ) {
        self.outputs = outputs
        self.latents = latents
        self.model = model
        seeds = result.images.map(\.seed)
        prompt = request.prompt
        negativePrompt = request.negativePrompt
        width = result.images.first?.width ?? 0
        height = result.images.first?.height ?? 0
        steps = result.steps
        guidanceScale = result.guidanceScale
        scheduler = result.scheduler
        device = result.device
        precision = result.precision.rawValue
        timings = Timings(
            load: result.timings.load, compile: result.timings.compile, encode: result.timings.encode,
            denoisePerStep: Self.median(result.timings.denoiseSteps), denoiseSteps: result.timings.denoiseSteps,
            decode: result.timings.decode, total: totalSeconds)
        peakDeviceBytes = result.peakDeviceMemory
        peakHostBytes = result.peakHostMemory
    }

    /// Every key is always there, with null where there is no value, so that a reader need not ask which ones exist.
    func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(outputs, forKey: .outputs)
        try container.encode(latents, forKey: .latents)
        try container.encode(seeds, forKey: .seeds)
        try container.encode(prompt, forKey: .prompt)
        try container.encode(negativePrompt, forKey: .negativePrompt)
        try container.encode(model, forKey: .model)
        try container.encode(width, forKey: .width)
        try container.encode(height, forKey: .height)
        try container.encode(steps, forKey: .steps)
        try container.encode(guidanceScale, forKey: .guidanceScale)
        try container.encode(scheduler, forKey: .scheduler)
        try container.encode(device, forKey: .device)
        try container.encode(precision, forKey: .precision)
        try container.encode(timings, forKey: .timings)
        try container.encode(peakDeviceBytes, forKey: .peakDeviceBytes)
        try container.encode(peakHostBytes, forKey: .peakHostBytes)
    }

    private enum CodingKeys: String, CodingKey {
        case outputs, latents, seeds, prompt, negativePrompt, model, width, height, steps, guidanceScale, scheduler
        case device, precision, timings, peakDeviceBytes, peakHostBytes
    }

    private static func median(_ values: [Double]) -> Double {
        guard !values.isEmpty else { return 0 }
        let sorted = values.sorted()
        let middle = sorted.count / 2
        return sorted.count.isMultiple(of: 2) ? (sorted[middle - 1] + sorted[middle]) / 2 : sorted[middle]
    }
}

/// The form of every JSON object that the program prints.
enum JSONText {
    /// One object with sorted snake_case keys.
    static func encode(_ value: some Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .convertToSnakeCase
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(value), as: UTF8.self)
    }
}
