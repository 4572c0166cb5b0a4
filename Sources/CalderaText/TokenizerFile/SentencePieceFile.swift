import CalderaGraph
import Foundation

/// What a SentencePiece model (`tokenizer.model`) says: a protocol buffer of the message `ModelProto` of
/// sentencepiece_model.proto.
struct SentencePieceFile {
    private(set) var tokens: [String] = []
    private(set) var scores: [Float] = []
    /// As `TokenKind` numbers them.
    private(set) var types: [Int32] = []
    private(set) var addsPrefixSpace = true

    private static let bytePairs = 2

    /// Throws `CalderaError` when the bytes are no such message, when the model is no byte pair encoding, or when it
    /// rewrites text before it encodes it.
    init(_ bytes: [UInt8], path: String) throws {
        let damaged = CalderaError("\(path) is not a SentencePiece model: download it again.")
        // The default of the message is another model, the unigram one.
        var model = 1
        var removesSpaces = true
        var rules = 0
        var reader = WireReader(bytes[...])
        while let field = try reader.next(orThrow: damaged) {
            switch field {
            case (1, .bytes(let piece)): try addPiece(piece, damaged)
            case (2, .bytes(let trainer)):
                model = try Self.values(trainer, damaged).last { $0.number == 3 }?.value.integer ?? model
            case (3, .bytes(let normalizer)):
                for (number, value) in try Self.values(normalizer, damaged) {
                    switch number {
                    case 2: rules = value.bytes.count
                    case 3: addsPrefixSpace = value.integer != 0
                    case 4: removesSpaces = value.integer != 0
                    default: break
                    }
                }
            default: break
            }
        }
        if tokens.isEmpty { throw damaged }
        guard model == Self.bytePairs else {
            throw CalderaError("\(path) holds another model than byte pair encoding, the only one that Caldera knows.")
        }
        guard rules == 0, !removesSpaces else {
            throw CalderaError(
                "\(path) rewrites text before it encodes it, which is not supported; "
                    + "use a folder with a tokenizer.json."
            )
        }
    }

    private mutating func addPiece(_ message: ArraySlice<UInt8>, _ damaged: CalderaError) throws {
        var (piece, score, type) = ("", Float(0), 1)
        for (number, value) in try Self.values(message, damaged) {
            switch (number, value) {
            case (1, .bytes(let text)):
                guard let text = String(validating: text, as: UTF8.self) else { throw damaged }
                piece = text
            case (2, .fixed(let bits)): score = Float(bitPattern: bits)
            case (3, .integer(let number)): type = number
            default: break
            }
        }
        tokens.append(piece)
        scores.append(score)
        types.append(Int32(truncatingIfNeeded: type))
    }

    private static func values(
        _ message: ArraySlice<UInt8>, _ damaged: CalderaError
    ) throws -> [(number: Int, value: WireReader.Value)] {
        var reader = WireReader(message)
        var values: [(number: Int, value: WireReader.Value)] = []
        while let field = try reader.next(orThrow: damaged) { values.append(field) }
        return values
    }
}

extension SentencePieceBPE {
    /// Reads a folder's `tokenizer.model`, the tokens that `added_tokens.json` adds to it, if there is one, and the
    /// tokens that start and end a text from `tokenizer_config.json`: `<s>` and `</s>` where that says nothing.
    /// Throws `CalderaError` when a file is missing, damaged or does not fit the others.
    package init(folder: URL) throws {
        let path = folder.appendingPathComponent("tokenizer.model").path
        let file = try SentencePieceFile(Array(try ConfigFile.read(path)), path: path)
        let added = try Self.added(folder, file.tokens)
        let tokens = file.tokens + added
        func id(_ key: String, _ fallback: String) throws -> Int32? {
            let configPath = folder.appendingPathComponent("tokenizer_config.json").path
            guard FileManager.default.fileExists(atPath: configPath) else {
                return tokens.firstIndex(of: fallback).map(Int32.init)
            }
            let config = try TokenizerComponent(
                ExactJSON(ConfigFile.read(configPath), path: configPath), place: configPath)
            let name = try config.tokenName(key) ?? fallback
            guard let index = tokens.firstIndex(of: name) else {
                throw CalderaError("\(configPath): the tokenizer lacks the \(key) \(name): the files do not fit.")
            }
            return Int32(index)
        }
        try self.init(
            tokens: tokens, scores: file.scores + added.map { _ in 0 },
            types: file.types + added.map { _ in TokenKind.userDefined.rawValue },
            addPrefixSpace: file.addsPrefixSpace, bos: try id("bos_token", "<s>"), eos: try id("eos_token", "</s>"))
    }

    /// The further tokens in the order of their ids, which go on where the model's end.
    private static func added(_ folder: URL, _ tokens: [String]) throws -> [String] {
        let path = folder.appendingPathComponent("added_tokens.json").path
        guard FileManager.default.fileExists(atPath: path) else { return [] }
        guard case .object(let members) = try ExactJSON(ConfigFile.read(path), path: path) else {
            throw CalderaError("\(path) is not an object of {\"token\": id}: download it again.")
        }
        let items = try members.map { name, value in
            guard case .integer(let id) = value else {
                throw CalderaError("\(path): \(name.debugDescription) has no id: download it again.")
            }
            return (name: name, id: id)
        }
        // Tokens that the model has already may be listed again.
        let further = items.filter { $0.id >= tokens.count || $0.id < 0 || tokens[$0.id] != $0.name }.sorted {
            $0.id < $1.id
        }
        guard further.enumerated().allSatisfy({ $1.id == tokens.count + $0 }) else {
            throw CalderaError(
                "\(path): the ids do not go on from the \(tokens.count) of tokenizer.model: the files do not fit.")
        }
        return further.map(\.name)
    }
}

/// Reads the fields of a protocol buffer's message one by one.
private struct WireReader {
    enum Value {
        case integer(Int)
        case fixed(UInt32)
        case bytes(ArraySlice<UInt8>)
        /// Eight bytes, which no field that is read here has.
        case other

        var integer: Int { if case .integer(let number) = self { number } else { 0 } }
        var bytes: ArraySlice<UInt8> { if case .bytes(let bytes) = self { bytes } else { [] } }
    }

    private var rest: ArraySlice<UInt8>

    init(_ bytes: ArraySlice<UInt8>) { rest = bytes }

    /// The next field, nil at the end. Throws `damaged` when the bytes are no field.
    mutating func next(orThrow damaged: CalderaError) throws -> (number: Int, value: Value)? {
        if rest.isEmpty { return nil }
        guard let key = varint() else { throw damaged }
        let number = Int(truncatingIfNeeded: key >> 3)
        switch key & 7 {
        case 0:
            guard let value = varint() else { throw damaged }
            return (number, .integer(Int(truncatingIfNeeded: value)))
        case 1:
            guard take(8) != nil else { throw damaged }
            return (number, .other)
        case 2:
            guard let count = varint().flatMap(Int.init(exactly:)), let bytes = take(count) else { throw damaged }
            return (number, .bytes(bytes))
        case 5:
            guard let bytes = take(4) else { throw damaged }
            return (number, .fixed(bytes.reversed().reduce(0) { $0 << 8 | UInt32($1) }))
        default: throw damaged
        }
    }

    private mutating func varint() -> UInt64? {
        var value: UInt64 = 0
        for shift in stride(from: UInt64(0), to: 64, by: 7) {
            guard let byte = rest.popFirst() else { return nil }
            value |= UInt64(byte & 0x7F) << shift
            if byte < 0x80 { return value }
        }
        return nil
    }

    private mutating func take(_ count: Int) -> ArraySlice<UInt8>? {
        guard count <= rest.count else { return nil }
        defer { rest = rest.dropFirst(count) }
        return rest.prefix(count)
    }
}
