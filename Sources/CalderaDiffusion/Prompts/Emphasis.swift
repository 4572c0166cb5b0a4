import CalderaText

/// The hidden states of one chunk of several texts that are encoded together.
struct ChunkStates {
    /// [T, C] for each text.
    var states: [[Float]]

    /// Multiplies each token's state by its weight, and then all of them so that their mean is what it was: the web UI's
    /// "Original" emphasis. As there, the mean is that of all texts.
    /// Reference: stable-diffusion-webui 1.10, `modules/sd_emphasis.py`, `EmphasisOriginal`.
    mutating func emphasize(_ weights: [[Float]]) {
        if weights.joined().allSatisfy({ $0 == 1 }) { return }
        let original = mean
        for (text, weights) in weights.enumerated() { multiply(text, by: weights) }
        let factor = Float(original / mean)
        for text in states.indices { states[text] = states[text].map { $0 * factor } }
    }

    private mutating func multiply(_ text: Int, by weights: [Float]) {
        let width = states[text].count / weights.count
        for (token, weight) in weights.enumerated() where weight != 1 {
            for index in token * width..<(token + 1) * width { states[text][index] *= weight }
        }
    }

    private var mean: Double {
        let sum = states.reduce(0.0) { $0 + $1.reduce(0.0) { $0 + Double($1) } }
        return sum / Double(states.reduce(0) { $0 + $1.count })
    }
}
