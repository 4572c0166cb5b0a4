import Foundation

/// The guidance scale as distilled UNets take it (`time_cond_proj_dim`): sines, then cosines, of 1000 times the scale less
/// one. Reference: diffusers `LatentConsistencyModelPipeline.get_guidance_scale_embedding`; Meng et al., "On Distillation of
/// Guided Diffusion Models" (2023).
package enum GuidanceEmbedding {
    /// fp32 [channels], zero in the last place where their number is odd; `channels` is 4 or more. All arithmetic is fp32,
    /// as there: angles of some thousands leave three digits of their sines.
    package static func values(guidanceScale: Double, channels: Int) -> [Float] {
        let half = channels / 2
        let number = Float(guidanceScale - 1) * 1000
        let slope = -(log(Float(10_000)) / Float(half - 1))
        let angles = (0..<half).map { number * exp(Float($0) * slope) }
        return angles.map { sin($0) } + angles.map { cos($0) } + (channels.isMultiple(of: 2) ? [] : [0])
    }
}
