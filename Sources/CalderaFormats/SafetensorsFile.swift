import CalderaGraph

/// A safetensors file, mapped rather than read: a tensor's pages come from the disk when they are first touched.
///
/// Tensors of types that graphs do not know (I64 position ids, BOOL, F64, ...) are listed in `names` and `tensors`, but
/// have no `info`, and asking for their bytes is an error.
public final class SafetensorsFile: WeightSource {
    public let path: String
    /// Every tensor of the file by name.
    public let tensors: [String: SafetensorsTensor]
    /// The strings that the writer left in the file: training settings, `format`, ...
    public let metadata: [String: String]

    private let file: MappedFile
    private let dataStart: Int

    /// Opens a file and checks its whole header. Throws `CalderaError` when it is missing, unreadable, cut short, or
    /// not a valid safetensors file.
    public init(_ path: String) throws {
        file = try MappedFile(path)
        let header = try SafetensorsHeader(file.bytes, path: path)
        self.path = path
        tensors = header.tensors
        metadata = header.metadata
        dataStart = header.dataStart
    }

    public var names: [String] { tensors.keys.sorted() }

    public func info(_ name: String) -> WeightInfo? {
        guard let tensor = tensors[name], let dtype = tensor.dtype else { return nil }
        return WeightInfo(dtype: dtype, shape: tensor.shape)
    }

    public func withBytes<Result>(_ name: String, _ body: (UnsafeRawBufferPointer) throws -> Result) throws -> Result {
        guard let tensor = tensors[name] else {
            throw CalderaError("\(path) has no tensor \(name): is it the file for this model?")
        }
        guard tensor.dtype != nil else {
            throw CalderaError(
                "\(path): tensor \(name) is stored as \(tensor.storedType); convert it to F32, F16, BF16 or I32.")
        }
        // The mapping lives as long as `file`, which must not go before `body` returns.
        return try withExtendedLifetime(file) {
            try body(UnsafeRawBufferPointer(rebasing: file.bytes[place(tensor)]))
        }
    }

    public func willRead(_ name: String) { tensors[name].map { file.willRead(place($0)) } }

    public func release(_ name: String) { tensors[name].map { file.release(place($0)) } }

    /// Where a tensor's bytes lie in the file.
    private func place(_ tensor: SafetensorsTensor) -> Range<Int> {
        (dataStart + tensor.range.lowerBound)..<(dataStart + tensor.range.upperBound)
    }

    /// The value of a tensor of one whole number, of a type that graphs do not know (`global_step`), or nil.
    func integer(_ name: String) -> Int? {
        guard let tensor = tensors[name], tensor.shape.count == 1 else { return nil }
        let start = dataStart + tensor.range.lowerBound
        return withExtendedLifetime(file) {
            switch tensor.storedType {
            case "I64": Int(Int64(littleEndian: file.bytes.loadUnaligned(fromByteOffset: start, as: Int64.self)))
            case "I32": Int(Int32(littleEndian: file.bytes.loadUnaligned(fromByteOffset: start, as: Int32.self)))
            default: nil
            }
        }
    }
}
