import CalderaDiffusion
import CalderaGraph

extension DiffusionPipeline {
    /// Throws `CalderaError` where a memory limit is below the least that one picture of the request takes, with all
    /// weights streamed; it names that least, so that nobody has to find it part by part.
    func checkLimit(_ request: PipelineRequest) throws {
        guard let limit = backend.memoryLimit else { return }
        var single = request
        single.seeds.draws = Array(request.seeds.draws.prefix(1))
        let floors = try leastMemory(single)
        guard let (name, least) = floors.max(by: { $0.bytes < $1.bytes }), least > limit else { return }
        let enough = Self.size(least)
        throw CalderaError(
            "A memory limit of \(Self.size(limit)) is too small for a picture of \(request.width)x\(request.height): "
                + "the \(name) needs \(enough) even with its weights streamed; allow as much (--max-memory \(enough)) or "
                + "choose a smaller picture.")
    }

    /// As `--max-memory` takes it, rounded up, so that it suffices as a limit.
    private static func size(_ bytes: Int) -> String {
        bytes < 10 << 20 ? "\((bytes + 1023) / 1024)KiB" : "\((bytes + (1 << 20) - 1) >> 20)MiB"
    }
}
