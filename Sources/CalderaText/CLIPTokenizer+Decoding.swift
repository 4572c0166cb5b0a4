extension CLIPTokenizer {
    /// The text of ids as transformers' `CLIPTokenizer.decode` writes it: normalized, one space behind each word.
    /// Ids that the vocabulary lacks give nothing.
    public func decode(_ ids: some Sequence<Int32>) -> String {
        let symbols = Dictionary(vocabulary.map { ($0.value, $0.key) }) { first, _ in first }
        var bytes: [UInt8] = []
        for id in ids {
            if let content = contents[id] {
                bytes += content.utf8
            } else if let symbol = symbols[id] {
                bytes += Self.bytes(symbol)
            }
        }
        if bytes.last == UInt8(ascii: " ") { bytes.removeLast() }
        return String(decoding: bytes, as: UTF8.self)
    }

    private static func bytes(_ symbol: String) -> [UInt8] {
        let endsWord = symbol.hasSuffix(BytePairEncoder.wordEnd)
        let letters = endsWord ? symbol.dropLast(BytePairEncoder.wordEnd.count) : symbol[...]
        return letters.unicodeScalars.compactMap { byteOfLetter[$0] } + (endsWord ? [UInt8(ascii: " ")] : [])
    }

    private static let byteOfLetter: [Unicode.Scalar: UInt8] = {
        let pairs = BytePairEncoder.byteLetters.enumerated().compactMap { byte, letter in
            letter.unicodeScalars.first.map { ($0, UInt8(byte)) }
        }
        return Dictionary(pairs) { first, _ in first }
    }()
}
