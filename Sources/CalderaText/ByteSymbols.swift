/// GPT-2's printable stand-ins for bytes: 33-126, 161-172 and 174-255 stand for themselves, the other 68 bytes in
/// ascending order for U+0100 and on (openai/gpt-2 `encoder.py`, `bytes_to_unicode`).
enum ByteSymbols {
    /// The stand-in of each byte, as text.
    static let all: [String] = {
        var symbols: [String] = []
        var next: UInt32 = 0x100
        for byte in UInt32(0)...255 {
            let isPrintable = (33...126).contains(byte) || (161...172).contains(byte) || (174...255).contains(byte)
            let scalar = isPrintable ? byte : next
            if !isPrintable { next += 1 }
            symbols.append(Unicode.Scalar(scalar).map(String.init) ?? "")
        }
        return symbols
    }()
}
