import CPNG
import CalderaGraph
import Foundation

/// A picture of 8-bit RGB, [height, width, 3] row by row, with the text chunks of its file.
public struct PNGPicture: Sendable {
    /// A text chunk: a keyword of 1 to 79 Latin-1 characters (`parameters`), and any text.
    public struct Text: Sendable, Hashable {
        public let keyword: String
        public let text: String

        public init(_ keyword: String, _ text: String) {
            self.keyword = keyword
            self.text = text
        }
    }

    public let width: Int
    public let height: Int
    public let rgb: [UInt8]
    public let text: [Text]

    public init(width: Int, height: Int, rgb: [UInt8], text: [Text] = []) {
        self.width = width
        self.height = height
        self.rgb = rgb
        self.text = text
    }

    /// The text of the first chunk with this keyword.
    public func text(_ keyword: String) -> String? { text.first { $0.keyword == keyword }?.text }
}

/// Reads and writes PNG files.
public enum PNGFile {
    /// The longest side that is read or written, and the most pixels.
    public static let largestSide = 65_536
    public static let mostPixels = 1 << 28

    /// Encodes a picture. Text becomes a tEXt chunk where Latin-1 can hold it and an iTXt chunk otherwise, as Pillow
    /// does; a NUL character, which neither can hold, becomes U+FFFD.
    /// Throws `CalderaError` when the sizes are out of range or do not match the bytes.
    public static func encode(_ picture: PNGPicture) throws -> [UInt8] {
        guard isReasonable(picture.width, picture.height) else {
            throw CalderaError.usage("A PNG picture cannot be \(picture.width)x\(picture.height).")
        }
        guard picture.rgb.count == picture.width * picture.height * 3 else {
            throw CalderaError(
                "\(picture.rgb.count) bytes are no picture of \(picture.width)x\(picture.height) in RGB.")
        }
        var message = [CChar](repeating: 0, count: Int(CPNG_MESSAGE_SIZE))
        var bytes: UnsafeMutablePointer<UInt8>?
        var count = 0
        let status = withTexts(picture.text.map(EncodedText.init)) { texts in
            cpng_encode(
                picture.rgb, UInt32(picture.width), UInt32(picture.height), texts.baseAddress, texts.count, &bytes,
                &count, &message)
        }
        guard status == 0, let bytes else { throw CalderaError("The picture cannot be encoded: \(string(message)).") }
        defer { free(bytes) }
        return Array(UnsafeBufferPointer(start: bytes, count: count))
    }

    /// Encodes a picture and writes it, whole or not at all: see `AtomicFile`.
    public static func write(_ picture: PNGPicture, to path: String) throws {
        try encode(picture).withUnsafeBytes { try AtomicFile.write($0, to: path) }
    }

    /// Reads a PNG file of any kind as 8-bit RGB: palettes and grey are expanded, 16 bits scaled, alpha dropped.
    /// Throws `CalderaError` when the file is missing, no PNG, broken, cut short or absurdly large; sizes are checked
    /// against the bounds, and against what so many bytes can hold, before pixels are allocated.
    public static func read(_ path: String) throws -> PNGPicture {
        let file = try MappedFile(path)
        return try withExtendedLifetime(file) { try decode(file.bytes, path) }
    }

    private static func decode(_ bytes: UnsafeRawBufferPointer, _ path: String) throws -> PNGPicture {
        var message = [CChar](repeating: 0, count: Int(CPNG_MESSAGE_SIZE))
        var reader: OpaquePointer?
        defer { cpng_close(reader) }
        var width: UInt32 = 0
        var height: UInt32 = 0
        let opened = cpng_open(
            bytes.bindMemory(to: UInt8.self).baseAddress, bytes.count, UInt32(largestSide), &reader, &width, &height,
            &message)
        guard opened == 0 else { throw unreadable(path, message) }
        try check(Int(width), Int(height), byteCount: bytes.count, path)
        var rgb = [UInt8](repeating: 0, count: Int(width) * Int(height) * 3)
        guard cpng_read(reader, &rgb, &message) == 0 else { throw unreadable(path, message) }
        let text = (0..<cpng_text_count(reader)).map { decodeText(cpng_text_at(reader, $0)) }
        return PNGPicture(width: Int(width), height: Int(height), rgb: rgb, text: text)
    }

    private static func check(_ width: Int, _ height: Int, byteCount: Int, _ path: String) throws {
        guard isReasonable(width, height) else {
            throw CalderaError("\(path) claims to be \(width)x\(height), which is too large to read.")
        }
        // Deflate packs at most 1032 bytes into one; a pixel takes at least one bit, a row at least one byte.
        let least = height * ((width + 7) / 8 + 1)
        guard least / 1032 <= byteCount else {
            throw CalderaError("\(path) claims to be \(width)x\(height) but is cut short: download it again.")
        }
    }

    private static func isReasonable(_ width: Int, _ height: Int) -> Bool {
        (1...largestSide).contains(width) && (1...largestSide).contains(height) && width * height <= mostPixels
    }

    private static func unreadable(_ path: String, _ message: [CChar]) -> CalderaError {
        CalderaError("\(path) cannot be read as a picture: \(string(message)).")
    }

    private static func string(_ message: [CChar]) -> String {
        String(decoding: message.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}

// MARK: - Text chunks

extension PNGFile {
    /// A chunk in the bytes that the file will hold, each string ending with NUL.
    private struct EncodedText {
        let keyword: [UInt8]
        let text: [UInt8]
        let isInternational: Bool

        init(_ chunk: PNGPicture.Text) {
            let clean = chunk.text.unicodeScalars.map { $0 == "\0" ? "\u{FFFD}" : $0 }
            let latin = PNGFile.latin1(clean)
            keyword = (PNGFile.latin1(Array(chunk.keyword.unicodeScalars)) ?? Array(chunk.keyword.utf8)) + [0]
            var utf8 = String.UnicodeScalarView()
            utf8.append(contentsOf: clean)
            text = (latin ?? Array(String(utf8).utf8)) + [0]
            isInternational = latin == nil
        }
    }

    private static func latin1(_ scalars: [Unicode.Scalar]) -> [UInt8]? {
        let bytes = scalars.compactMap { UInt8(exactly: $0.value) }
        return bytes.count == scalars.count ? bytes : nil
    }

    /// Lends the chunks as C sees them; the bytes stay in place for the time of the call.
    private static func withTexts<Result>(
        _ texts: [EncodedText], _ body: (UnsafeBufferPointer<cpng_text>) -> Result
    ) -> Result {
        let pool = texts.flatMap { $0.keyword + $0.text }
        return pool.withUnsafeBytes { pool in
            var chunks: [cpng_text] = []
            var offset = 0
            for text in texts {
                guard let base = pool.baseAddress?.assumingMemoryBound(to: CChar.self) else { break }
                let value = offset + text.keyword.count
                chunks.append(
                    cpng_text(keyword: base + offset, text: base + value, international: text.isInternational ? 1 : 0))
                offset = value + text.text.count
            }
            return chunks.withUnsafeBufferPointer(body)
        }
    }

    private static func decodeText(_ chunk: cpng_text) -> PNGPicture.Text {
        let text = bytes(chunk.text)
        let decoded = chunk.international != 0 ? String(decoding: text, as: UTF8.self) : string(latin1: text)
        return PNGPicture.Text(string(latin1: bytes(chunk.keyword)), decoded)
    }

    private static func bytes(_ pointer: UnsafePointer<CChar>?) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: pointer, count: pointer.map { strlen($0) } ?? 0)
    }

    private static func string(latin1 bytes: UnsafeRawBufferPointer) -> String {
        var scalars = String.UnicodeScalarView()
        scalars.append(contentsOf: bytes.map { Unicode.Scalar($0) })
        return String(scalars)
    }
}
