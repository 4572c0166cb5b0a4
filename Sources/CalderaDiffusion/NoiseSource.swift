import CalderaGraph

/// The noise of several pictures, each from its own seed's stream, in the order in which diffusers draws it: the initial
/// latents, then one tensor for each step (diffusers `randn_tensor` with a list of generators).
struct NoiseSource {
    private var streams: [TorchRandom]
    private let height: Int
    private let width: Int
    private let channels: Int

    init(seeds: [UInt64], height: Int, width: Int, channels: Int) {
        streams = seeds.map { TorchRandom(seed: $0) }
        self.height = height
        self.width = width
        self.channels = channels
    }

    /// fp32 [pictures, h, w, c], times `scale`.
    mutating func draw(scale: Double = 1) -> HostTensor {
        let values = streams.indices.flatMap { channelsLast(picture: $0, scale: Float(scale)) }
        return HostTensor([streams.count, height, width, channels], values)
    }

    /// fp32 [steps, pictures, h, w, c]; zeros for a step that draws none.
    mutating func draw(_ schedule: Schedule) -> HostTensor {
        let size = streams.count * height * width * channels
        var values: [Float] = []
        for step in schedule.steps {
            values += step.drawsNoise ? draw().floats : [Float](repeating: 0, count: size)
        }
        return HostTensor([schedule.steps.count, streams.count, height, width, channels], values)
    }

    /// The next tensor of a picture's stream. Torch fills [c, h, w]; Caldera keeps [h, w, c].
    private mutating func channelsLast(picture: Int, scale: Float) -> [Float] {
        let pixels = height * width
        let drawn = streams[picture].normal(count: channels * pixels)
        var values = [Float](repeating: 0, count: drawn.count)
        for channel in 0..<channels {
            for pixel in 0..<pixels { values[pixel * channels + channel] = drawn[channel * pixels + pixel] * scale }
        }
        return values
    }
}
