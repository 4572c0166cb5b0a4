import CalderaGraph
import CalderaModels

/// A language model compiled for a number of texts at once: the prompt stage takes a piece of each text's prompt, the
/// step stage one token of each; both write to the same caches.
package final class LanguagePlan {
    package let batch: Int
    package let context: Int
    /// Tokens of a prompt that one pass takes.
    package let chunk: Int
    private let executable: any Executable
    private let vocabularySize: Int

    /// Throws what planning and compiling throw.
    package init(
        _ model: Llama, weights: any WeightSource, backend: any Backend, precision: Precision, batch: Int, context: Int,
        chunk: Int
    ) throws {
        (self.batch, self.context, self.chunk) = (batch, context, chunk)
        vocabularySize = model.config.vocabularySize
        let graph = try LanguagePlan.graph(model, precision, batch: batch, context: context, chunk: chunk)
        var plan = try Planner.plan(graph, limits: backend.limits)
        plan.part = "language_model"
        try plan.check(weights, part: "the language model")
        executable = try backend.compile(plan, weights: weights)
        try executable.write(Llama.anglesName, model.config.rope.table(positions: context))
    }

    package static func graph(_ model: Llama, _ precision: Precision, batch: Int, context: Int, chunk: Int) throws
        -> Graph
    {
        let graph = Graph(dtype: precision.dtype)
        let memory = model.memory(graph, batch: batch, context: context)
        let prompt = Llama.Pass(
            ids: graph.input("prompt_ids", [batch, chunk], .int32),
            positions: graph.input("prompt_positions", [batch], .int32),
            last: graph.input("prompt_last", [batch], .int32))
        graph.output("prompt_logits", try model(graph, prompt, memory))
        let step = Llama.Pass(
            ids: graph.input("ids", [batch, 1], .int32, stage: .step),
            positions: graph.input("positions", [batch], .int32, stage: .step), last: nil)
        graph.output("logits", try model(graph, step, memory))
        return graph
    }

    /// Takes the prompts of at most `batch` texts, none empty or longer than the context, and returns the logits behind
    /// each one's last token.
    package func begin(_ prompts: [[Int32]]) throws -> [ArraySlice<Float>] {
        var logits = [ArraySlice<Float>](repeating: [], count: prompts.count)
        let longest = prompts.map(\.count).max() ?? 0
        for start in stride(from: 0, to: longest, by: chunk) {
            // Texts that have ended are padded: what that writes lies behind their tokens and is written again before
            // anything looks at it.
            let ids = rows(prompts).flatMap { prompt in
                (start..<start + chunk).map { $0 < prompt.count ? prompt[$0] : 0 }
            }
            let last = rows(prompts).map { Int32(max(0, min(chunk - 1, $0.count - 1 - start))) }
            try executable.write("prompt_ids", HostTensor([batch, chunk], ids))
            try executable.write(
                "prompt_positions", HostTensor([batch], Array(repeating: Int32(start), count: batch)))
            try executable.write("prompt_last", HostTensor([batch], last))
            try executable.run(.prompt)
            let ending = prompts.indices.filter { (start..<start + chunk).contains(prompts[$0].count - 1) }
            if ending.isEmpty { continue }
            let values = try read("prompt_logits", .prompt, ending)
            for row in ending { logits[row] = slice(values, row) }
        }
        return logits
    }

    /// Takes one more token of each text, at its position, and returns what follows. Of texts that have ended, any token
    /// at the position of their last will do.
    package func step(_ tokens: [(id: Int32, position: Int)], active: [Int]) throws -> [ArraySlice<Float>] {
        let padding = batch - tokens.count
        let ids = tokens.map(\.id) + Array(repeating: 0, count: padding)
        let positions = tokens.map { Int32($0.position) } + Array(repeating: 0, count: padding)
        try executable.write("ids", HostTensor([batch, 1], ids))
        try executable.write("positions", HostTensor([batch], positions))
        try executable.run(.step)
        let values = try read("logits", .step, active)
        return tokens.indices.map { slice(values, $0) }
    }

    private func rows(_ prompts: [[Int32]]) -> [[Int32]] {
        prompts + Array(repeating: [], count: batch - prompts.count)
    }

    private func slice(_ values: [Float], _ row: Int) -> ArraySlice<Float> {
        values[row * vocabularySize..<(row + 1) * vocabularySize]
    }

    /// The logits, of which those of `rows` must be finite.
    private func read(_ name: String, _ stage: Stage, _ rows: [Int]) throws -> [Float] {
        let values = try executable.read(name).floats
        guard rows.allSatisfy({ slice(values, $0).allSatisfy(\.isFinite) }) else {
            let place = try executable.firstNonFinite(stage)?.description
            throw CalderaError(
                (place ?? "The language model gives values that are not finite numbers")
                    + ": use the precision fp32, or check the model's files.")
        }
        return values
    }
}
