import CalderaGraph

/// Opens a file of weights, whatever its form.
public enum WeightFile {
    /// Decides by the file's first bytes, not by its name: safetensors, or a PyTorch file (`.ckpt`, `.pt`, `.bin`).
    /// Throws `CalderaError` when the file is missing or damaged, or is neither of the two.
    public static func open(_ path: String) throws -> any WeightSource {
        switch try WeightFormat.of(try MappedFile(path)) {
        case .safetensors: try SafetensorsFile(path)
        case .pickle: try PickleFile(path)
        }
    }

    /// The weights in a component's own folder: one file, or several with an index.
    /// - Parameter variant: see `ModelFolder.weights`.
    /// Throws `CalderaError` when there are none, naming what was looked for, and when a file is broken.
    public static func open(folder: String, variant: String? = nil) throws -> any WeightSource {
        let found = try WeightFiles(folder: folder).resolve(variant: variant)
        return found.isIndex ? try ShardedWeights(index: found.path) : try open(found.path)
    }
}

/// The forms in which weights are published.
enum WeightFormat: Sendable {
    case safetensors
    case pickle

    /// The form that a file's first bytes tell. Throws for a PyTorch file of the form that torch wrote before version
    /// 1.6, which is a bare pickle, and for anything else that is neither form.
    static func of(_ file: MappedFile) throws -> WeightFormat {
        let bytes = file.bytes
        if bytes.starts(with: [0x50, 0x4B, 0x03, 0x04]) { return .pickle }
        if bytes.count > 8, bytes[8] == UInt8(ascii: "{") || bytes[8] == UInt8(ascii: " ") { return .safetensors }
        // PROTO and a version; or the tar file of torch 0.1.
        let isTar = bytes.count > 262 && bytes[257..<262].elementsEqual("ustar".utf8)
        if bytes.count > 1 && bytes[0] == 0x80 && bytes[1] <= 5 || isTar {
            throw CalderaError(
                "\(file.path) is a PyTorch file of the form from before version 1.6: get it as safetensors, or load it "
                    + "in a current PyTorch and save it again.")
        }
        if bytes.starts(with: "version https://git-lfs".utf8) {
            throw CalderaError("\(file.path) is a Git LFS pointer, not the file itself: fetch it with git lfs pull.")
        }
        if bytes.count <= 8 {
            throw CalderaError("\(file.path) is cut short (\(bytes.count) bytes): download it again.")
        }
        if bytes.starts(with: "version https://git-lfs".utf8) {
            throw CalderaError("\(file.path) is a Git LFS pointer, not the file itself: fetch it with git lfs pull.")
        }
        throw CalderaError("\(file.path) is neither a safetensors nor a PyTorch file: is it the right one?")
    }
}
