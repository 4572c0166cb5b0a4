import CalderaGraph
import CalderaModels
import CalderaText

/// Encodes the prompts of a run, under plain syntax as diffusers' pipelines do (`encode_prompt` of
/// StableDiffusionPipeline, StableDiffusionXLPipeline and StableDiffusionXLImg2ImgPipeline), under the web UI's as its
/// conditioner does (`FrozenCLIPEmbedderWithCustomWordsBase.forward`). Each encoder is loaded once, for all that it has
/// to encode, and released before the next.
package struct PromptEncoder {
    private let plans: PipelinePlans
    private let backend: any Backend
    private var parts: PipelineParts { plans.parts }

    package init(plans: PipelinePlans, backend: any Backend) {
        self.plans = plans
        self.backend = backend
    }

    /// Throws usage errors for a CLIP skip out of range and for prompts that the syntax cannot read; otherwise what loading
    /// and running an encoder throws.
    package func encode(_ request: ConditioningRequest) throws -> Conditioning {
        let prompts = try RunPrompts(request, parts: parts)
        var chunked = try parts.encoders.map {
            try ChunkedPrompts(prompts, syntax: request.syntax, tokenizer: $0.tokenizer)
        }
        // An embedding that one encoder knows and the other does not makes the prompt longer for one of them.
        let counts = prompts.sides.indices.map { side in chunked.map { $0.counts[side] }.max() ?? 1 }
        for index in chunked.indices { chunked[index].pad(to: counts) }
        let states = prompts.sides.map(\.state)
        let encoded = try zip(parts.encoders, chunked).map { part, chunked in
            let rows = try encode(chunked.rows, request.syntax, states, with: part)
            return EncodedPrompts(chunked, rows, states: states, width: part.model.config.hiddenSize)
        }
        return conditioning(prompts, embeddings(encoded))
    }

    private func encode(
        _ ids: [[Int32]], _ syntax: PromptSyntax, _ states: [CLIPText.HiddenState], with part: TextEncoderPart
    ) throws -> EncodedRows {
        let config = part.model.config
        let rows = ids.map { ids in
            // The ids of embeddings are above the end of text, which a config of 2022 takes for the largest id: diffusers
            // then pools at the embedding. The web UI puts embeddings in place of other ids.
            let end = syntax == .plain ? nil : ids.firstIndex(of: part.tokenizer.endOfText)
            return EncoderPass.Row(ids: ids, endOfText: end ?? config.endOfTextPosition(ids))
        }
        var wanted: [CLIPText.HiddenState] = []
        for state in states where !wanted.contains(state) { wanted.append(state) }
        return try EncoderPass(plans: plans, backend: backend, part: part).run(rows, states: wanted)
    }

    /// For each prompt the embeddings of its texts, and that of an empty chunk where one is needed.
    private func embeddings(_ encoders: [EncodedPrompts]) -> [(texts: [PromptEmbedding], empty: PromptEmbedding?)] {
        guard let first = encoders.first else { return [] }
        return first.sides.indices.map { side in
            let texts = first.sides[side].indices.map { text in
                joined(encoders.map { ($0.sides[side][text], $0.width) })
            }
            let empty = encoders.compactMap { encoder in encoder.empty.map { ($0[side], encoder.width) } }
            return (texts, empty.isEmpty ? nil : joined(empty))
        }
    }

    /// The states of several encoders side by side in the channels; the pooled embedding of the one that has it.
    private func joined(_ encoders: [(text: EncodedPrompts.Text, width: Int)]) -> PromptEmbedding {
        let tokens = encoders.first.map { $0.text.states.count / $0.width } ?? 0
        var context: [Float] = []
        context.reserveCapacity(encoders.reduce(0) { $0 + $1.text.states.count })
        for token in 0..<tokens {
            for (text, width) in encoders { context += text.states[token * width..<(token + 1) * width] }
        }
        return PromptEmbedding(
            tokens: tokens, context: context, pooled: encoders.compactMap(\.text.pooled).last ?? [])
    }

    private func conditioning(
        _ prompts: RunPrompts, _ sides: [(texts: [PromptEmbedding], empty: PromptEmbedding?)]
    ) -> Conditioning {
        let tokens = sides.flatMap(\.texts).map(\.tokens).max() ?? 0
        var padded = sides.map { side in side.texts.map { $0.padded(to: tokens, with: side.empty) } }
        var orders = prompts.sides.map(\.timeline.order)
        if prompts.negativeIsZero, let side = sides.first {
            // The web UI pads even zeros with the states of an empty prompt.
            let zeros = PromptEmbedding.zeros(like: side.empty ?? side.texts[0])
            padded.append([zeros.padded(to: tokens, with: side.empty)])
            orders.append([Int](repeating: 0, count: orders[0].count))
        }
        return Conditioning(
            segments: Self.segments(orders, padded), tokens: tokens, guidanceFactor: prompts.guidanceFactor,
            warnings: prompts.warnings)
    }

    /// One segment for each stretch in which neither prompt changes.
    private static func segments(_ orders: [[Int]], _ embeddings: [[PromptEmbedding]]) -> [Conditioning.Segment] {
        let steps = orders[0].count
        let ends = (1...steps).filter { end in end == steps || orders.contains { $0[end] != $0[end - 1] } }
        return ends.map { end in
            Conditioning.Segment(
                end: end, positive: embeddings[0][orders[0][end - 1]],
                negative: orders.count > 1 ? embeddings[1][orders[1][end - 1]] : nil)
        }
    }
}
