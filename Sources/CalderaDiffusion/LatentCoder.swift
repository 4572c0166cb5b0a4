import CalderaGraph
import CalderaModels
import Foundation

/// Pictures into latents and back, with the autoencoder of a pipeline. Weights are loaded for each call and released
/// behind it.
struct LatentCoder {
    private let plans: PipelinePlans
    private let backend: any Backend
    private let tiling: Tiling
    /// Releases what else of this pipeline is loaded.
    private let makeRoom: () -> Void

    /// Latent rows and columns of a tile: 512 pixels at eight pixels a latent.
    private static let tile = 64

    init(plans: PipelinePlans, backend: any Backend, tiling: Tiling, makeRoom: @escaping () -> Void) {
        self.plans = plans
        self.backend = backend
        self.tiling = tiling
        self.makeRoom = makeRoom
    }

    private var parts: PipelineParts { plans.parts }
    private var scale: Int { parts.autoencoder.downscale }

    /// What decodes a picture of that many pixels: all of it, or a tile.
    func decoderPlan(height: Int, width: Int) throws -> Plan {
        try work(.decoder, height: height / scale, width: width / scale, plans.autoencoderDType).plan
    }

    /// Throws where a picture of that many pixels could never be decoded.
    func checkRoom(height: Int, width: Int) throws {
        try backend.checkRoom(for: decoderPlan(height: height, width: width), part: "decoder")
    }

    // MARK: Decoding

    /// latents [pictures, h, w, c] as the sampler left them -> pictures [pictures, H, W, 3] in about -1...1; one at a
    /// time, which needs the least memory and gives each picture the same bits in any batch.
    ///
    /// Where activations leave fp16's range the picture is decoded again in fp32. Throws `CalderaError` with the layer's
    /// name where values are not finite all the same.
    func decode(_ latents: HostTensor) throws -> HostTensor {
        let decode = try decoder(height: latents.shape[1], width: latents.shape[2])
        return HostTensor.stacked(try (0..<latents.shape[0]).map { try decode(latents.entry($0)) })
    }

    /// A loaded decoder for latents [1, h, w, c] of one size; see `decode`.
    func decoder(height: Int, width: Int) throws -> (HostTensor) throws -> HostTensor {
        var attempts = Attempts(try load(work(.decoder, height: height, width: width, plans.autoencoderDType)))
        return { latents in
            try attempts.run(parts.autoencoder.latentScale.decoderInput(latents)) {
                try load(work(.decoder, height: height, width: width, .float32))
            }
        }
    }

    // MARK: Encoding

    /// A sample of the latents of a picture [1, H, W, 3] for each stream of `noise`: fp32 [pictures, h, w, c] in the
    /// sampler's scale (diffusers `DiagonalGaussianDistribution.sample`).
    func encode(_ picture: HostTensor, pictures: Int, _ noise: inout NoiseSource) throws -> HostTensor {
        let (height, width) = (picture.shape[1] / scale, picture.shape[2] / scale)
        var attempts = Attempts(try load(work(.encoder, height: height, width: width, plans.autoencoderDType)))
        let moments = try attempts.run(picture) {
            try load(work(.encoder, height: height, width: width, .float32))
        }
        return HostTensor.stacked(
            samples(moments, pictures: pictures, &noise).map(parts.autoencoder.latentScale.modelInput))
    }

    private func samples(_ encoded: HostTensor, pictures: Int, _ noise: inout NoiseSource) -> [HostTensor] {
        switch parts.autoencoder.encoding {
        case .latents: return Array(repeating: encoded, count: pictures)
        case .moments:
            let drawn = noise.draw()
            return (0..<pictures).map { index in
                Self.sample(encoded, drawn.entry(index).floats, channels: parts.autoencoder.latentChannels)
            }
        }
    }

    /// mean + exp(log variance / 2)·noise, the log variance held between -30 and 20.
    private static func sample(_ moments: HostTensor, _ noise: [Float], channels: Int) -> HostTensor {
        let values = moments.floats
        let sampled = noise.indices.map { index in
            let pixel = index / channels * 2 * channels
            let channel = index % channels
            let logVariance = min(max(values[pixel + channels + channel], -30), 20)
            return values[pixel + channel] + exp(logVariance / 2) * noise[index]
        }
        return HostTensor([1, moments.shape[1], moments.shape[2], channels], sampled)
    }

    // MARK: Plans

    private enum Direction: String {
        case encoder
        case decoder
    }

    /// A network, and the tiles for which it runs.
    private struct Work {
        let direction: Direction
        let graph: Graph
        let plan: Plan
        let grid: TileGrid
    }

    /// A network that is ready to run.
    private final class Loaded {
        let work: Work
        private let run: (HostTensor) throws -> HostTensor
        private let find: () throws -> CalderaError
        private var failure: CalderaError?

        /// - Parameter find: says what layer gave values that are not finite in the last run.
        init(
            _ work: Work, run: @escaping (HostTensor) throws -> HostTensor,
            find: @escaping () throws -> CalderaError
        ) {
            self.work = work
            self.run = run
            self.find = find
        }

        /// One latent or picture; nil where values are not finite.
        func result(_ source: HostTensor) throws -> HostTensor? {
            do {
                let result = try run(source)
                return result.isFinite ? result : nil
            } catch let fault as SteppedTiles.NotFinite {
                failure = fault.error
                return nil
            }
        }

        /// What to say of the last result that was nil.
        func notFinite() throws -> CalderaError { try failure ?? find() }
    }

    /// A second attempt in fp32 where fp16's range is left, which holds for what comes after as well.
    private struct Attempts {
        private var loaded: Loaded?

        init(_ loaded: Loaded) { self.loaded = loaded }

        mutating func run(_ source: HostTensor, inFP32: () throws -> Loaded) throws -> HostTensor {
            guard let first = loaded else { return try retry(source, inFP32) }
            if let result = try first.result(source) { return result }
            guard first.work.plan.dtype == .float16 else { throw try first.notFinite() }
            return try retry(source, inFP32)
        }

        private mutating func retry(_ source: HostTensor, _ inFP32: () throws -> Loaded) throws -> HostTensor {
            // The first attempt's memory is needed for the second.
            loaded = nil
            let second = try inFP32()
            loaded = second
            guard let result = try second.result(source) else { throw try second.notFinite() }
            return result
        }
    }

    /// For all of the picture, or for tiles of it where asked for or nothing else fits.
    private func work(_ direction: Direction, height: Int, width: Int, _ dtype: DType) throws -> Work {
        func work(tile: Int) throws -> Work {
            let grid = TileGrid(height: height, width: width, tile: tile)
            let (rows, columns) = (grid.rows.tile, grid.columns.tile)
            let graph = try graph(direction, height: rows, width: columns, dtype)
            return Work(direction: direction, graph: graph, plan: try plans.autoencoderPlan(graph), grid: grid)
        }
        if tiling == .on { return try work(tile: Self.tile) }
        let whole = try work(tile: max(height, width))
        if try tiling == .off || hasRoom(whole) { return whole }
        makeRoom()
        return try hasRoom(whole) ? whole : work(tile: Self.tile)
    }

    private func hasRoom(_ work: Work) throws -> Bool {
        try backend.hasRoom(for: work.plan, weights: parts.autoencoderWeights)
    }

    private func load(_ work: Work) throws -> Loaded {
        if try !hasRoom(work) { makeRoom() }
        return work.grid.isWhole ? try whole(work) : try tiled(work)
    }

    private func whole(_ work: Work) throws -> Loaded {
        let executable = try backend.load(
            work.plan, weights: parts.autoencoderWeights, part: work.direction.rawValue)
        let (name, result) = work.direction == .decoder ? ("latents", "picture") : ("picture", "moments")
        return Loaded(work) { source in
            try executable.write(name, source)
            try executable.run(.prompt)
            return try executable.read(result)
        } find: {
            CalderaError.notFinite(
                try executable.firstNonFinite(.prompt), part: "vae \(work.direction.rawValue)", dtype: work.plan.dtype)
        }
    }

    private func tiled(_ work: Work) throws -> Loaded {
        let rows = work.grid.rows.extent
        let all = try graph(work.direction, height: rows, width: work.grid.columns.extent, work.plan.dtype)
        let steps = try SteppedTiles(whole: all, tile: work.graph, grid: work.grid)
        let part = "vae \(work.direction.rawValue)"
        return Loaded(work) { source in
            try steps.run(source, weights: parts.autoencoderWeights, backend: backend, part: part)
        } find: {
            CalderaError.notFinite(nil, part: part, dtype: work.plan.dtype)
        }
    }

    /// The network for latents of that size.
    private func graph(_ direction: Direction, height: Int, width: Int, _ dtype: DType) throws -> Graph {
        direction == .decoder
            ? try plans.decoderGraph(height: height, width: width, dtype: dtype)
            : try plans.pictureEncoderGraph(height: height * scale, width: width * scale, dtype: dtype)
    }
}

extension HostTensor {
    /// Entry `index` of the first axis, which the result keeps with extent 1.
    func entry(_ index: Int) -> HostTensor {
        let single = Shape([1] + shape.extents.dropFirst())
        return HostTensor(single, Array(floats[index * single.count..<(index + 1) * single.count]))
    }

    /// Tensors of one shape, along the first axis.
    package static func stacked(_ tensors: [HostTensor]) -> HostTensor {
        guard let first = tensors.first else { return HostTensor([0], [Float]()) }
        let count = tensors.reduce(0) { $0 + $1.shape[0] }
        return HostTensor(Shape([count] + first.shape.extents.dropFirst()), tensors.flatMap(\.floats))
    }

    var isFinite: Bool { floats.allSatisfy(\.isFinite) }
}
