import CalderaDiffusion
import CalderaGraph
import Foundation

/// Chooses the tokens of one text, as transformers' `generate` does on the processor: the same logits and the same seed
/// give the same tokens.
/// Reference: transformers `logits_process.py`, in the order of `GenerationMixin._get_logits_processor`; torch's
/// `multinomial` of one draw, which divides each probability by an exponential deviate and takes the largest ratio.
package struct TokenSampler {
    private let sampling: TokenSampling
    private let endOfText: Set<Int32>
    private var random: TorchRandom
    /// The tokens that the text has, prompt included.
    private var seen: Set<Int32>
    private(set) var newTokens = 0

    package init(_ sampling: TokenSampling, prompt: [Int32], endOfText: Set<Int32>, seed: UInt64) {
        self.sampling = sampling
        self.endOfText = endOfText
        random = TorchRandom(seed: seed)
        seen = Set(prompt)
    }

    /// The next token, given the logits of every one.
    package mutating func next(_ logits: ArraySlice<Float>) -> Int32 {
        var scores = Array(logits)
        penalise(&scores)
        let token = sampling.temperature.map { draw(&scores, temperature: Float($0)) } ?? TokenSampler.likeliest(scores)
        seen.insert(Int32(token))
        newTokens += 1
        return Int32(token)
    }

    private func penalise(_ scores: inout [Float]) {
        let penalty = Float(sampling.repetitionPenalty)
        if penalty != 1 {
            for token in seen where scores.indices.contains(Int(token)) {
                let score = scores[Int(token)]
                scores[Int(token)] = score < 0 ? score * penalty : score / penalty
            }
        }
        guard newTokens < sampling.minNewTokens else { return }
        for token in endOfText where scores.indices.contains(Int(token)) { scores[Int(token)] = -.infinity }
    }

    /// The first of the greatest.
    private static func likeliest(_ scores: [Float]) -> Int {
        var best = 0
        for index in scores.indices where scores[index] > scores[best] { best = index }
        return best
    }

    // MARK: Drawing

    private mutating func draw(_ scores: inout [Float], temperature: Float) -> Int {
        for index in scores.indices { scores[index] /= temperature }
        keepLikeliest(&scores)
        keepMass(&scores)
        keepNear(&scores)
        let probabilities = TokenSampler.softmax(scores)
        var (best, largest) = (0, -Float.infinity)
        for (index, probability) in probabilities.enumerated() {
            if probability == 0 {
                random.skipExponential()
                if largest < 0 { (best, largest) = (index, 0) }
                continue
            }
            let ratio = probability / random.exponential()
            if ratio > largest { (best, largest) = (index, ratio) }
        }
        return best
    }

    /// Top-k: what is below the k-th largest goes; its equals stay.
    private func keepLikeliest(_ scores: inout [Float]) {
        guard let count = sampling.topK, count < scores.count else { return }
        let bound = TokenSampler.bound(of: count, in: scores)
        for index in scores.indices where scores[index] < bound { scores[index] = -.infinity }
    }

    /// The `count`-th largest score. Sorting all of a vocabulary would take a tenth of a token's time.
    private static func bound(of count: Int, in scores: [Float]) -> Float {
        // The largest so far, the least of them first.
        var largest = scores.prefix(count).sorted()
        for score in scores.dropFirst(count) where score > largest[0] {
            let place = largest.firstIndex { $0 >= score } ?? count
            largest.insert(score, at: place)
            largest.removeFirst()
        }
        return largest[0]
    }

    /// Top-p: from the least likely up, tokens go while their probabilities together are within 1 - p; one stays.
    private func keepMass(_ scores: inout [Float]) {
        guard let mass = sampling.topP, mass < 1 else { return }
        let kept = scores.indices.filter { scores[$0] > -.infinity }.sorted { scores[$0] < scores[$1] }
        let probabilities = TokenSampler.softmax(kept.map { scores[$0] })
        let bound = Float(1 - mass)
        var sum = 0.0
        for (index, probability) in zip(kept, probabilities).dropLast() {
            sum += Double(probability)
            if Float(sum) <= bound { scores[index] = -.infinity }
        }
    }

    /// Min-p: what is less likely than p times the likeliest goes.
    private func keepNear(_ scores: inout [Float]) {
        guard let share = sampling.minP else { return }
        let probabilities = TokenSampler.softmax(scores)
        let bound = Float(share) * (probabilities.max() ?? 0)
        for (index, probability) in probabilities.enumerated() where probability < bound { scores[index] = -.infinity }
    }

    private static func softmax(_ scores: [Float]) -> [Float] {
        let peak = scores.max() ?? 0
        var sum = 0.0
        let powers = scores.map { score -> Float in
            let power = score == -.infinity ? 0 : exp(score - peak)
            sum += Double(power)
            return power
        }
        let total = Float(sum)
        return powers.map { $0 / total }
    }
}
