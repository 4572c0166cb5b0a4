import CalderaGraph

/// Where the noise of a batch comes from.
package struct RandomSource: Sendable, Equatable {
    /// Which of torch's generators is reproduced.
    package enum Generator: String, Sendable, CaseIterable {
        /// `torch.Generator("cpu")`, diffusers' usual advice.
        case cpu
        /// `torch.Generator("cuda")`, what the web UI draws from.
        case cuda
    }

    /// Part of another seed's noise, mixed into the first latents.
    package struct Variation: Sendable, Equatable {
        package let seed: UInt64
        /// From 0, none of the other, to 1, all of it.
        package let strength: Double

        package init(seed: UInt64, strength: Double) {
            self.seed = seed
            self.strength = strength
        }
    }

    /// One picture for each.
    package var seeds: [UInt64]
    package var generator: Generator
    package var variation: Variation?

    package init(seeds: [UInt64], generator: Generator = .cpu, variation: Variation? = nil) {
        self.seeds = seeds
        self.generator = generator
        self.variation = variation
    }

    func stream(_ seed: UInt64) -> any NormalStream {
        switch generator {
        case .cpu: TorchRandom(seed: seed)
        case .cuda: PhiloxRandom(seed: seed)
        }
    }
}

/// The noise of several pictures, each from its own seed's stream, in the order in which diffusers draws it (`randn_tensor`
/// with a list of generators).
struct NoiseSource {
    private var streams: [any NormalStream]
    private let variations: (streams: [any NormalStream], strength: Double)?
    let height: Int
    let width: Int
    let channels: Int

    init(_ source: RandomSource, height: Int, width: Int, channels: Int) {
        streams = source.seeds.map(source.stream)
        variations = source.variation.map { variation in
            // The web UI counts the variation's seed up with the picture's.
            (source.seeds.indices.map { source.stream(variation.seed &+ UInt64($0)) }, variation.strength)
        }
        self.height = height
        self.width = width
        self.channels = channels
    }

    var shape: Shape { [streams.count, height, width, channels] }

    /// What the first latents are made of: fp32 [pictures, h, w, c].
    mutating func drawFirst() -> HostTensor {
        let drawn = next()
        guard let variations else { return tensor(drawn) }
        let mixed = zip(drawn, variations.streams).map { base, stream in
            var stream = stream
            return VariationNoise.mixed(
                base, stream.normal(count: base.count), strength: variations.strength, channels: channels, width: width)
        }
        return tensor(mixed)
    }

    /// The next tensor of each stream: fp32 [pictures, h, w, c].
    mutating func draw() -> HostTensor { tensor(next()) }

    /// fp32 [steps, pictures, h, w, c]; zeros for a step that draws none.
    mutating func draw(_ schedule: Schedule) -> HostTensor {
        var values: [Float] = []
        for step in schedule.steps {
            values += step.drawsNoise ? draw().floats : [Float](repeating: 0, count: shape.count)
        }
        return HostTensor(Shape([schedule.steps.count] + shape.extents), values)
    }

    /// What torch would fill a tensor of each picture with.
    private mutating func next() -> [[Float]] {
        streams.indices.map { streams[$0].normal(count: channels * height * width) }
    }

    private func tensor(_ drawn: [[Float]]) -> HostTensor { HostTensor(shape, drawn.flatMap(channelsLast)) }

    /// Torch fills [c, h, w]; Caldera keeps [h, w, c].
    private func channelsLast(_ drawn: [Float]) -> [Float] {
        let pixels = height * width
        var values = [Float](repeating: 0, count: drawn.count)
        for channel in 0..<channels {
            for pixel in 0..<pixels { values[pixel * channels + channel] = drawn[channel * pixels + pixel] }
        }
        return values
    }
}
