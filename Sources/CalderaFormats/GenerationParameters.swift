import CalderaGraph
import Foundation

/// The text that AUTOMATIC1111's web UI keeps in a picture under the keyword `parameters`:
///
///     PROMPT
///     Negative prompt: NEGATIVE
///     Steps: 20, Sampler: Euler, CFG scale: 7, Seed: 1, Size: 512x512, Model: NAME, Version: NAME
///
/// Writing and parsing follow the web UI's `create_infotext` and `parse_generation_parameters`, with their limits: lines
/// are trimmed when parsed, and a line of the prompt that starts with "Negative prompt:" begins the negative prompt.
public struct GenerationParameters: Sendable, Equatable {
    /// The keyword of the text chunk.
    public static let keyword = "parameters"

    /// A setting of the last line.
    public struct Field: Sendable, Equatable {
        public let key: String
        public let value: String

        public init(_ key: String, _ value: String) {
            self.key = key
            self.value = value
        }
    }

    public var prompt: String
    public var negativePrompt: String
    /// The settings in the order in which they are written.
    public var fields: [Field]

    public init(prompt: String, negativePrompt: String = "", fields: [Field] = []) {
        self.prompt = prompt
        self.negativePrompt = negativePrompt
        self.fields = fields
    }

    /// The settings of a picture in the web UI's order; those that are nil are left out.
    /// - Parameter extra: further settings, written before the version.
    public init(
        prompt: String, negativePrompt: String = "", steps: Int, sampler: String, scheduleType: String? = nil,
        guidanceScale: Double, seed: UInt64, width: Int, height: Int, model: String? = nil, extra: [Field] = [],
        version: String? = nil
    ) {
        self.init(prompt: prompt, negativePrompt: negativePrompt)
        let known: [(String, String?)] = [
            ("Steps", String(steps)), ("Sampler", sampler), ("Schedule type", scheduleType),
            ("CFG scale", Self.number(guidanceScale)), ("Seed", String(seed)), ("Size", "\(width)x\(height)"),
            ("Model", model),
        ]
        fields = known.compactMap { key, value in value.map { Field(key, $0) } } + extra
        if let version { fields.append(Field("Version", version)) }
    }

    /// The value of the first setting with this key.
    public subscript(key: String) -> String? { fields.first { $0.key == key }?.value }

    public var steps: Int? { self["Steps"].flatMap { Int($0) } }
    public var sampler: String? { self["Sampler"] }
    public var scheduleType: String? { self["Schedule type"] }
    public var guidanceScale: Double? { self["CFG scale"].flatMap { Double($0) } }
    public var seed: UInt64? { self["Seed"].flatMap { UInt64($0) } }
    public var model: String? { self["Model"] }
    public var version: String? { self["Version"] }

    /// Width and height in pixels.
    public var size: (width: Int, height: Int)? {
        guard let parts = self["Size"]?.split(separator: "x"), parts.count == 2 else { return nil }
        guard let width = Int(parts[0]), let height = Int(parts[1]) else { return nil }
        return (width, height)
    }

    /// 7 rather than 7.0, 7.5 as it is.
    private static func number(_ value: Double) -> String {
        Int(exactly: value).map { String($0) } ?? String(value)
    }
}

// MARK: - Writing

extension GenerationParameters {
    /// The text to be kept in a picture.
    public var text: String {
        let negative = negativePrompt.isEmpty ? "" : "\nNegative prompt: \(negativePrompt)"
        // A setting whose value is its own key is written once, as the web UI does.
        let settings = fields.map { $0.key == $0.value ? $0.key : "\($0.key): \(Self.quote($0.value))" }
        return "\(prompt)\(negative)\n\(settings.joined(separator: ", "))"
            .trimmingCharacters(in: .whitespacesAndNewlines)
    }

    /// Values with a comma, a colon or a line break are written as JSON strings.
    private static func quote(_ value: String) -> String {
        guard value.unicodeScalars.contains(where: { $0 == "," || $0 == ":" || $0 == "\n" }) else { return value }
        return jsonString(value)
    }

    /// A JSON string as Python's `json.dumps(value, ensure_ascii=False)` writes it.
    private static func jsonString(_ value: String) -> String {
        var quoted = "\""
        for scalar in value.unicodeScalars {
            switch scalar {
            case "\"": quoted += "\\\""
            case "\\": quoted += "\\\\"
            case "\n": quoted += "\\n"
            case "\r": quoted += "\\r"
            case "\t": quoted += "\\t"
            case "\u{8}": quoted += "\\b"
            case "\u{c}": quoted += "\\f"
            case _ where scalar.value < 0x20:
                let digits = String(scalar.value, radix: 16)
                quoted += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: quoted.unicodeScalars.append(scalar)
            }
        }
        return quoted + "\""
    }
}

// MARK: - Parsing

extension GenerationParameters {
    /// Parses the text of a picture. The last line holds the settings if at least three are found in it.
    public init(parsing text: String) {
        var lines = Self.lines(Self.trim(text[...].unicodeScalars))
        var found = lines.last.map(InfotextScanner.settings) ?? []
        if found.count < 3 {
            found = []
        } else {
            lines.removeLast()
        }
        self.init(prompt: "")
        readPrompts(lines)
        fields = found.compactMap { key, value in
            value.isEmpty ? nil : Field(key, Self.unquote(value))
        }
    }

    private mutating func readPrompts(_ lines: [Substring.UnicodeScalarView]) {
        let marker = "Negative prompt:".unicodeScalars
        var inNegative = false
        for line in lines {
            var line = Self.trim(line)
            if line.starts(with: marker) {
                inNegative = true
                line = Self.trim(line.dropFirst(marker.count))
            }
            if inNegative {
                negativePrompt += (negativePrompt.isEmpty ? "" : "\n") + String(Substring(line))
            } else {
                prompt += (prompt.isEmpty ? "" : "\n") + String(Substring(line))
            }
        }
    }

    /// Splits at line feeds alone: Swift's `Character` would take CR LF for one, other characters for line breaks.
    private static func lines(_ text: Substring.UnicodeScalarView) -> [Substring.UnicodeScalarView] {
        text.split(separator: "\n", omittingEmptySubsequences: false)
    }

    private static func trim(_ text: Substring.UnicodeScalarView) -> Substring.UnicodeScalarView {
        let start = text.firstIndex { !InfotextScanner.isSpace($0) } ?? text.endIndex
        var end = text.endIndex
        while end > start, InfotextScanner.isSpace(text[text.index(before: end)]) { end = text.index(before: end) }
        return text[start..<end]
    }

    private static func unquote(_ value: String) -> String {
        guard value.utf8.count >= 2, value.utf8.first == UInt8(ascii: "\""), value.utf8.last == UInt8(ascii: "\"")
        else { return value }
        return (try? JSONDecoder().decode(String.self, from: Data(value.utf8))) ?? value
    }
}

/// Finds `key: value` pairs in the last line of a picture's parameters, as the web UI's regular expression does:
/// `\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)`, in time proportional to the line's length.
enum InfotextScanner {
    typealias Scalars = [Unicode.Scalar]

    static func settings(_ line: Substring.UnicodeScalarView) -> [(key: String, value: String)] {
        let text = Array(line)
        var settings: [(String, String)] = []
        var position = 0
        while position < text.count {
            guard isWord(text[position]) else {
                position += 1
                continue
            }
            var end = position + 1
            while end < text.count, isKey(text[end]) { end += 1 }
            // A key has at least two characters; the run of them reaches to its colon or there is no key in it.
            guard end < text.count, text[end] == ":", end - position >= 2 else {
                position = max(end, position + 1)
                continue
            }
            let (value, next) = value(text, after: end + 1)
            settings.append((string(text[position..<end]), string(value)))
            position = next
        }
        return settings
    }

    /// The value that begins here, and the place behind the comma that ends it.
    private static func value(_ text: Scalars, after start: Int) -> (ArraySlice<Unicode.Scalar>, Int) {
        var start = start
        while start < text.count, isSpace(text[start]) { start += 1 }
        if let end = quotedEnd(text, start) { return (text[start..<end], end + 1) }
        let end = text[start...].firstIndex(of: ",") ?? text.count
        return (text[start..<end], end + 1)
    }

    /// Where a quoted value ends that is not empty and is followed by a comma or the end of the line.
    private static func quotedEnd(_ text: Scalars, _ start: Int) -> Int? {
        guard start < text.count, text[start] == "\"" else { return nil }
        var position = start + 1
        while position < text.count, text[position] != "\"" {
            position += text[position] == "\\" ? 2 : 1
        }
        guard position < text.count, position > start + 1 else { return nil }
        let end = position + 1
        return end == text.count || text[end] == "," ? end : nil
    }

    static func isSpace(_ scalar: Unicode.Scalar) -> Bool {
        scalar.properties.isWhitespace || (0x1C...0x1F).contains(scalar.value)
    }

    /// `\w` of Python's regular expressions: letters, numbers and the underscore.
    private static func isWord(_ scalar: Unicode.Scalar) -> Bool {
        if scalar == "_" { return true }
        return switch scalar.properties.generalCategory {
        case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter, .decimalNumber,
            .letterNumber, .otherNumber:
            true
        default: false
        }
    }

    private static func isKey(_ scalar: Unicode.Scalar) -> Bool {
        isWord(scalar) || scalar == " " || scalar == "-" || scalar == "/"
    }

    private static func string(_ scalars: ArraySlice<Unicode.Scalar>) -> String {
        var view = String.UnicodeScalarView()
        view.append(contentsOf: scalars)
        return String(view)
    }
}
