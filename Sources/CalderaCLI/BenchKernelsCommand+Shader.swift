import CalderaBench
import CalderaGraph
import Foundation

/// `--shader` and `--watch`.
extension BenchKernelsCommand {
    /// Measures what is built in once, then the shader, with --watch again and again. Throws where the shader is wrong.
    func run(_ path: String, on benchmark: KernelBenchmark, _ earlier: KernelReport?) throws {
        let place = try ShaderBenchmark(benchmark, kernel: kernel)
        let shader = try UserShader(path)
        // Nobody should wait for the built-in kernels to be told of a missing semicolon.
        if !watch { try place.check(shader) }
        let builtIn = try measure(benchmark)
        guard watch else { return try measure(shader, place, beside: builtIn, earlier) }
        while true {
            do {
                try measure(shader, place, beside: builtIn, earlier)
            } catch let error as CalderaError {
                StandardStreams.reportError(error.message)
            }
            StandardStreams.report("watching \(path): save it to measure it again, Ctrl-C to end")
            while !shader.hasChanged { Thread.sleep(forTimeInterval: 0.2) }
        }
    }

    private func measure(
        _ shader: UserShader, _ place: ShaderBenchmark, beside builtIn: KernelReport, _ earlier: KernelReport?
    ) throws {
        let outcome = try place.run(shader, builtIn.ceilings)
        try show(builtIn.adding(outcome.results), earlier)
        if let fault = outcome.fault { throw fault }
    }
}
