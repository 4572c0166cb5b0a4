import CalderaGraph
import Foundation

/// A textual-inversion embedding: vectors that stand in a prompt for what a trainer taught a text encoder.
///
/// The forms that are read, each as safetensors or as a PyTorch file:
/// - the web UI's: `string_to_param` {"*": [n, d]} beside a `name`;
/// - the web UI's in safetensors: `emb_params` [n, d];
/// - diffusers': one tensor [d] or [n, d] whose name is the token;
/// - SDXL's: `clip_l` [n, 768] and `clip_g` [m, 1280], one for each of its encoders.
package struct EmbeddingFile: Sendable {
    private static let wrapper = "string_to_param"
    private static let mostVectors = 1024

    package let path: String
    /// What stands for the vectors in a prompt: the token of a file in diffusers' form, otherwise the file's name
    /// without its extension, as in the web UI.
    package let name: String
    /// The name that a file in the web UI's form gives itself, which the web UI ignores and diffusers takes.
    package let storedName: String?
    /// The vectors [n, d] by their width d: one entry for each text encoder that the file is for.
    package let vectors: [Int: HostTensor]

    /// Reads all vectors. Throws `CalderaError` when the file is missing or broken, holds no embedding in one of the
    /// forms above, or numbers that are not finite.
    package init(_ path: String) throws {
        let source = try WeightFile.open(path)
        let pickle = source as? PickleFile
        let isWebUI = pickle?.wrappers.last == Self.wrapper
        let names = try Self.tensorNames(source, path)
        self.path = path
        storedName = isWebUI ? pickle?.strings["name"] : nil
        let isToken = names.count == 1 && !isWebUI && !Self.knownNames.contains(names[0])
        name = isToken ? names[0] : URL(fileURLWithPath: path).deletingPathExtension().lastPathComponent
        vectors = try names.reduce(into: [:]) { vectors, name in
            let tensor = try Self.vectors(name, source, path)
            guard vectors.updateValue(tensor, forKey: tensor.shape.channels) == nil else {
                throw CalderaError("\(path) holds two embeddings of width \(tensor.shape.channels): keep one of them.")
            }
        }
    }

    /// The vectors [n, width] for a text encoder. Throws when the file has none of that width.
    /// - Parameter encoderName: what the message calls the encoder: `text_encoder_2`, ...
    package func vectors(forWidth width: Int, encoderName: String) throws -> HostTensor {
        if let found = vectors[width] { return found }
        let widths = vectors.keys.sorted().map(String.init).joined(separator: " and ")
        throw CalderaError(
            "The embedding \(path) has vectors of width \(widths), but \(encoderName) takes width \(width): it was made "
                + "for another base model.")
    }

    /// Names that are no token.
    private static let knownNames = ["emb_params", "clip_l", "clip_g", "*"]

    private static func tensorNames(_ source: any WeightSource, _ path: String) throws -> [String] {
        let names = source.names
        if names.count == 1 || Set(names) == ["clip_l", "clip_g"] { return names }
        let listed = names.prefix(4).map(printable).joined(separator: ", ")
        throw CalderaError(
            "\(path) is no textual-inversion embedding: it should hold one tensor, or clip_l and clip_g, but holds "
                + "\(names.count) (\(listed)\(names.count > 4 ? ", ..." : "")).")
    }

    private static func vectors(_ name: String, _ source: any WeightSource, _ path: String) throws -> HostTensor {
        guard let info = source.info(name) else {
            throw CalderaError(
                "\(path): the vectors \(printable(name)) are of a type that Caldera does not read: "
                    + "convert them to F32, F16 or BF16.")
        }
        let extents = info.shape.extents
        guard (1...2).contains(extents.count), !extents.contains(0), info.shape.rows <= mostVectors,
            info.dtype != .int32
        else {
            throw CalderaError(
                "\(path) is no textual-inversion embedding: \(printable(name)) is \(info.dtype) \(info.shape), not "
                    + "up to \(mostVectors) vectors [n, width].")
        }
        let floats = try source.withBytes(name) { ElementReader.floats($0, info.dtype) }
        guard floats.allSatisfy(\.isFinite) else {
            throw CalderaError("\(path) holds numbers that are not finite: download it again.")
        }
        return HostTensor([info.shape.rows, info.shape.channels], floats)
    }
}
