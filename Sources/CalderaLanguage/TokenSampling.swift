import CalderaGraph

/// How the next token is chosen from what a model says of it; the names are those of transformers' `GenerationConfig`.
package struct TokenSampling: Sendable, Equatable {
    /// Divides the logits; nil takes the likeliest token each time.
    package var temperature: Double?
    /// Only this many of the likeliest tokens may be drawn.
    package var topK: Int?
    /// Only the likeliest tokens whose probabilities together reach this may be drawn.
    package var topP: Double?
    /// Only tokens at least this many times as likely as the likeliest may be drawn.
    package var minP: Double?
    /// Divides the positive logits of the tokens that the text has already, and multiplies their negative ones.
    package var repetitionPenalty = 1.0
    /// The text does not end before it has this many new tokens.
    package var minNewTokens = 0
    package var maxNewTokens = 512

    package init() {}

    /// The likeliest token each time.
    package static let greedy = TokenSampling()

    /// Throws a usage error that names the first setting out of its range.
    package func check() throws {
        try check(temperature.map { $0 > 0 && $0.isFinite }, "The temperature", temperature, "a number above 0")
        try check(topK.map { $0 > 0 }, "top-k", topK, "a number of at least 1")
        try check(topP.map { $0 > 0 && $0 <= 1 }, "top-p", topP, "a number above 0 and at most 1")
        try check(minP.map { $0 >= 0 && $0 <= 1 }, "min-p", minP, "a number from 0 to 1")
        try check(
            repetitionPenalty > 0 && repetitionPenalty.isFinite, "The repetition penalty", repetitionPenalty,
            "a number above 0")
        try check(minNewTokens >= 0, "The least number of new tokens", minNewTokens, "a number of at least 0")
        try check(maxNewTokens > 0, "The number of new tokens", maxNewTokens, "a number of at least 1")
    }

    private func check<Value>(_ holds: Bool?, _ name: String, _ value: Value?, _ wanted: String) throws {
        guard holds == false, let value else { return }
        throw CalderaError.usage("\(name) is \(value), where \(wanted) is needed.")
    }
}
