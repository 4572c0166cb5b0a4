import CalderaGraph

/// What the noise of a batch is made from.
package struct PictureSeeds: Sendable, Equatable {
    /// The seeds of one picture.
    package struct Draw: Sendable, Equatable {
        package let seed: UInt64
        /// What is mixed into the first latents, where anything is.
        package let variation: VariationNoise?

        package init(seed: UInt64, variation: VariationNoise? = nil) {
            self.seed = seed
            self.variation = variation
        }
    }

    /// One picture for each.
    package var draws: [Draw]
    package var source: RandomSource

    package init(draws: [Draw], source: RandomSource = .cpu) {
        self.draws = draws
        self.source = source
    }

    package init(seeds: [UInt64]) { self.init(draws: seeds.map { Draw(seed: $0) }) }
}

/// The noise of several pictures, each from its own seed's stream, in the order in which diffusers draws it (`randn_tensor`
/// with a list of generators).
struct NoiseSource {
    private var streams: [any NormalStream]
    private let seeds: [UInt64]
    private let variations: [VariationNoise?]
    private let source: RandomSource
    let height: Int
    let width: Int
    let channels: Int

    init(_ seeds: PictureSeeds, height: Int, width: Int, channels: Int) {
        self.seeds = seeds.draws.map(\.seed)
        streams = seeds.draws.map { seeds.source.stream(seed: $0.seed) }
        variations = seeds.draws.map(\.variation)
        source = seeds.source
        self.height = height
        self.width = width
        self.channels = channels
    }

    var shape: Shape { [streams.count, height, width, channels] }

    /// What the first latents are made of: fp32 [pictures, h, w, c].
    mutating func drawFirst() -> HostTensor {
        tensor(
            zip(next(), variations).map { noise, variation in
                variation?.applied(to: noise, height: height, width: width, source: source) ?? noise
            })
    }

    /// The next tensor of each stream: fp32 [pictures, h, w, c].
    mutating func draw() -> HostTensor { tensor(next()) }

    /// fp32 [steps, pictures, h, w, c]; zeros for a step that draws none.
    mutating func draw(_ schedule: Schedule) -> HostTensor {
        var paths = schedule.steps.lazy.compactMap(\.brownian).first.map { brownianPaths(along: $0.path) } ?? []
        var values: [Float] = []
        for step in schedule.steps {
            if let span = step.brownian {
                values += tensor(paths.indices.map { paths[$0].noise(over: span) }).floats
            } else {
                values += step.drawsNoise ? draw().floats : [Float](repeating: 0, count: shape.count)
            }
        }
        return HostTensor(Shape([schedule.steps.count] + shape.extents), values)
    }

    /// One path for each picture, from its seed.
    private func brownianPaths(along path: BrownianSpan.Path) -> [BrownianPath] {
        seeds.map { BrownianPath(seed: $0, count: channels * height * width, path: path) }
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
