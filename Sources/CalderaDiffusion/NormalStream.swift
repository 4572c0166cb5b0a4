/// A seeded stream of standard normal deviates, as some generator of torch draws them: what a call consumes, and in what
/// order, is part of the definition, so that the same seed makes the same picture as another program.
package protocol NormalStream: Sendable {
    /// The next `count` fp32 deviates, as one call of `torch.randn` draws them; state is kept from call to call.
    mutating func normal(count: Int) -> [Float]
}

extension TorchRandom: NormalStream {}
extension PhiloxRandom: NormalStream {}

/// Whose random numbers a picture's noise is made of.
package enum RandomSource: String, Sendable, CaseIterable {
    /// `torch.Generator("cpu")`, as diffusers' examples and the web UI's "CPU" have it.
    case cpu
    /// `torch.Generator("cuda")`, as the web UI's "GPU" and "NV" have it.
    case cuda

    package func stream(seed: UInt64) -> any NormalStream {
        switch self {
        case .cpu: TorchRandom(seed: seed)
        case .cuda: PhiloxRandom(seed: seed)
        }
    }
}
