/// The printable letters that stand for bytes in GPT-2's vocabularies and those made after it.
enum ByteLetters {
    /// The letters of a text's UTF-8.
    static func letters(_ text: some Collection<Unicode.Scalar>) -> ScalarText {
        text.utf8Bytes.map { ofByte[Int($0)] }
    }

    /// The bytes that letters stand for; nil where one stands for none.
    static func bytes(_ letters: some Collection<Unicode.Scalar>) -> [UInt8]? {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(letters.count)
        for letter in letters {
            guard let byte = ofLetter[letter] else { return nil }
            bytes.append(byte)
        }
        return bytes
    }

    private static let ofByte: [Unicode.Scalar] = BytePairEncoder.byteLetters.compactMap(\.unicodeScalars.first)

    private static let ofLetter = Dictionary(uniqueKeysWithValues: zip(ofByte, UInt8.min...UInt8.max))
}
