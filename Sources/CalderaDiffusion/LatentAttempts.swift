import CalderaGraph

/// An autoencoder's network that is ready to run.
final class LoadedLatentWork {
    private let work: LatentWork
    private let backend: any Backend
    /// What runs the whole picture; tiles load what they need as they go.
    private let executable: (any Executable)?
    private var failure: CalderaError?

    /// Throws `CalderaError` when there is no room for it.
    init(_ work: LatentWork, on backend: any Backend) throws {
        self.work = work
        self.backend = backend
        executable =
            work.tiles == nil
            ? try backend.load(work.plan, weights: work.weights, part: work.direction.rawValue) : nil
    }

    var dtype: DType { work.plan.dtype }

    /// One latent or picture; nil where values are not finite.
    func result(_ source: HostTensor) throws -> HostTensor? {
        do {
            let result = try run(source)
            return result.isFinite ? result : nil
        } catch let fault as TileWalk.NotFinite {
            failure = fault.error
            return nil
        }
    }

    private func run(_ source: HostTensor) throws -> HostTensor {
        if let tiles = work.tiles {
            return try tiles.run(source, weights: work.weights, backend: backend, part: work.part)
        }
        guard let executable else { return source }
        let (input, output) = work.direction == .decoder ? ("latents", "picture") : ("picture", "moments")
        try executable.write(input, source)
        try executable.run(.prompt)
        return try executable.read(output)
    }

    /// What to say of the last result that was nil.
    func notFinite() throws -> CalderaError {
        if let failure { return failure }
        return CalderaError.notFinite(try executable?.firstNonFinite(.prompt), part: work.part, dtype: dtype)
    }
}

/// A second attempt in fp32 where fp16's range is left, which holds for what comes after as well.
struct LatentAttempts {
    private var loaded: LoadedLatentWork?
    private let inFP32: () throws -> LoadedLatentWork

    init(_ loaded: LoadedLatentWork, inFP32: @escaping () throws -> LoadedLatentWork) {
        self.loaded = loaded
        self.inFP32 = inFP32
    }

    /// Throws `CalderaError` where values are not finite in fp32 either.
    mutating func run(_ source: HostTensor) throws -> HostTensor {
        if let loaded {
            if let result = try loaded.result(source) { return result }
            guard loaded.dtype == .float16 else { throw try loaded.notFinite() }
        }
        // The first attempt's memory is needed for the second.
        loaded = nil
        let second = try inFP32()
        loaded = second
        guard let result = try second.result(source) else { throw try second.notFinite() }
        return result
    }
}
