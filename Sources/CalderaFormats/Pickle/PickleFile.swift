import CalderaGraph

/// A PyTorch file of tensors (`.ckpt`, `.pt`, `.pth`, `.bin`) as `torch.save` has written it since version 1.6: mapped,
/// not read, and nothing that it names is executed.
///
/// The tensors are those of the dictionary at the top, or of the one that stands there under a customary name
/// (`state_dict`, ...); their names are those inside it. As with safetensors, tensors of types that graphs do not know
/// (int64 position ids, ...) are listed, but have no `info`, and asking for their bytes is an error.
package final class PickleFile: WeightSource {
    package let path: String
    /// Every tensor by name.
    package let tensors: [String: PickledTensor]
    /// The names under which `tensors` stood, outermost first; empty when they are at the top.
    package let wrappers: [String]
    /// The integers at the top of the file: `global_step`, `epoch`, ...
    package let integers: [String: Int]
    /// The strings at the top of the file: an embedding's `name`, ...
    package let strings: [String: String]

    private let file: MappedFile
    private let archive: TorchArchive

    /// Opens a file and checks all that it says about its tensors. Throws `CalderaError` when it is missing, cut short,
    /// no such file, in the form from before PyTorch 1.6, or asks for more than tensors need.
    package init(_ path: String) throws {
        let file = try MappedFile(path)
        guard try WeightFormat.of(file) == .pickle else {
            throw CalderaError("\(path) is a safetensors file, not a PyTorch one: open it as such.")
        }
        let archive = try TorchArchive(file.bytes, path: path)
        let pickle = UnsafeRawBufferPointer(rebasing: file.bytes[archive.pickle])
        let document = try PickleMachine.read(pickle, path: path)
        let contents = try PickledContents(document, path: path)
        for (name, tensor) in contents.tensors {
            try Self.check(tensor, name, archive, path)
        }
        (self.file, self.archive, self.path) = (file, archive, path)
        (tensors, wrappers) = (contents.tensors, contents.wrappers)
        (integers, strings) = (contents.integers, contents.strings)
    }

    package var names: [String] { tensors.keys.sorted() }

    package func info(_ name: String) -> WeightInfo? {
        guard let tensor = tensors[name], let dtype = tensor.dtype else { return nil }
        return WeightInfo(dtype: dtype, shape: tensor.shape)
    }

    /// Lends the bytes in the mapped file where they lie as graphs want them; a view with other strides, or from a
    /// big-endian machine, is gathered into memory for the time of the call.
    package func withBytes<Result>(_ name: String, _ body: (UnsafeRawBufferPointer) throws -> Result) throws -> Result {
        guard let tensor = tensors[name] else {
            throw CalderaError("\(path) has no tensor \(name): is it the file for this model?")
        }
        guard let dtype = tensor.dtype else {
            throw CalderaError(
                "\(path): tensor \(name) is stored as \(tensor.type.storedType); convert it to F32, F16, BF16 or I32.")
        }
        // The mapping lives as long as `file`, which must not go before `body` returns.
        return try withExtendedLifetime(file) {
            let storage = UnsafeRawBufferPointer(rebasing: file.bytes[archive.storage(tensor.storage.key) ?? 0..<0])
            if tensor.isContiguous && !archive.isBigEndian {
                return try body(UnsafeRawBufferPointer(rebasing: storage[tensor.range]))
            }
            return try tensor.gathered(storage, as: dtype, isBigEndian: archive.isBigEndian).withUnsafeBytes(body)
        }
    }

    /// A storage without elements may lack an entry.
    private static func check(
        _ tensor: PickledTensor, _ name: String, _ archive: TorchArchive, _ path: String
    ) throws {
        let storage = archive.storage(tensor.storage.key) ?? 0..<0
        guard storage.count >= tensor.storage.byteCount else {
            throw CalderaError(
                "\(path): tensor \(name) needs \(tensor.storage.byteCount) bytes, of which the file holds "
                    + "\(storage.count): download it again.")
        }
    }
}
