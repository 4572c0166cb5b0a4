import Caldera
import CalderaCPU
import CalderaDiffusion
import CalderaGPU
import CalderaGraph
import CalderaTestSupport
import CalderaVulkan
import Foundation
import Testing

/// The backends on which memory is counted: also Vulkan as on a device whose memory the host does not see.
enum MemoryDevice: String, CaseIterable, CustomTestStringConvertible, Sendable {
    case cpu = "CPU"
    case vulkan = "Vulkan"
    case vulkanStaged = "Vulkan through staging buffers"

    var testDescription: String { rawValue }

    /// The precision in which the device's weights differ from the files' type, so that they are converted.
    var precision: Precision { self == .cpu ? .fp32 : .fp16 }

    /// Runs `body` on the device; on Vulkan under the validation layer, which must have nothing to say.
    func withBackend(_ body: (any Backend) throws -> Void) throws {
        if self == .cpu { return try body(CPUBackend()) }
        let instance = try VulkanInstance(validation: true)
        try { () throws in
            let physical = try #require(try instance.physicalDevices().first { $0.info.unusableReason == nil })
            try body(VulkanBackend(device: VulkanDevice(physical), isStaged: self == .vulkanStaged ? true : nil))
        }()
        #expect(instance.messages.isEmpty, "the validation layer says: \(instance.messages.prefix(3))")
    }
}

/// A part of a model that can be planned, with its weights.
struct PlannedPart {
    let name: String
    let plan: Plan
    let weights: any WeightSource

    /// The text encoder, the denoiser of two steps and the decoder of a tiny model.
    static func parts(of golden: GoldenModel, _ precision: Precision, _ limits: PlanLimits) throws -> [PlannedPart] {
        var result: [PlannedPart] = []
        try golden.withParts { parts in
            let plans = PipelinePlans(parts: parts, precision: precision, limits: limits)
            let scale = parts.autoencoder.downscale
            let request = PipelineRequest(
                prompt: "", negativePrompt: nil, width: 16 * scale, height: 16 * scale, steps: 2, guidanceScale: 5,
                seeds: PictureSeeds(seeds: [1]), scheduler: "euler")
            let schedule = try SchedulerRegistry.make(name: "euler", config: parts.scheduler).schedule(steps: 2)
            let encoder = try #require(parts.encoders.last)
            result = [
                PlannedPart(name: "encoder", plan: try plans.encoder(encoder, batch: 2), weights: encoder.weights),
                PlannedPart(
                    name: "unet",
                    plan: try plans.denoiser(plans.denoising(request, schedule: schedule, pictures: 1)),
                    weights: parts.unetWeights),
                PlannedPart(
                    name: "decoder", plan: try plans.decoder(height: 16, width: 16, dtype: precision.dtype),
                    weights: parts.autoencoderWeights),
            ]
        }
        return result
    }

    /// Fills the inputs, runs both stages (steps twice), and gives the bits of every output and state.
    func results(_ executable: any Executable) throws -> [String: [UInt32]] {
        for port in plan.inputs + plan.states { try executable.write(port.name, PlannedPart.filling(port)) }
        try executable.run(.prompt)
        if !plan.stepNodes.isEmpty { for _ in 0..<2 { try executable.run(.step) } }
        var results: [String: [UInt32]] = [:]
        for port in plan.outputs + plan.states {
            results[port.name] = try executable.read(port.name).floats.map(\.bitPattern)
        }
        return results
    }

    /// Zeros for indices, a wave for numbers.
    private static func filling(_ port: Plan.Port) -> HostTensor {
        let (shape, count) = (port.tensor.shape, port.tensor.shape.count)
        if port.tensor.dtype == .int32 { return HostTensor(shape, [Int32](repeating: 0, count: count)) }
        return HostTensor(shape, (0..<count).map { 0.5 * Float(sin(Double($0))) })
    }
}
