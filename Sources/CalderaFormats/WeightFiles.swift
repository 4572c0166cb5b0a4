import CalderaGraph
import Foundation

/// The weight files of one component's folder, and the choice among them.
///
/// Plain: `STEM.safetensors` or `STEM.safetensors.index.json`. A variant: `STEM.VARIANT.safetensors`,
/// `STEM.safetensors.index.VARIANT.json` or `STEM.VARIANT.safetensors.index.json`. How the shards themselves are called
/// (`STEM.fp16-00001-of-00002.safetensors`, or the older `STEM-00001-of-00002.fp16.safetensors`) is for the index to
/// say. STEM is `diffusion_pytorch_model` (diffusers) or `model` (transformers).
struct WeightFiles {
    struct Found {
        let path: String
        let variant: String?
        let isIndex: Bool
    }

    private static let stems = ["diffusion_pytorch_model", "model"]

    private let folder: String
    private let names: [String]
    private let found: [Found]

    /// Throws `CalderaError` when the folder cannot be listed.
    init(folder: String) throws {
        guard let names = try? FileManager.default.contentsOfDirectory(atPath: folder).sorted() else {
            throw CalderaError("The folder \(folder) cannot be read: check its permissions.")
        }
        self.folder = folder
        self.names = names
        found = Self.stems.flatMap { stem in names.compactMap { Self.classify($0, stem, folder) } }
    }

    /// The file to open. Without a `variant` the plain one, then `fp16`, then whichever is the only one.
    func resolve(variant: String?) throws -> Found {
        if let variant { return try resolve(asked: variant) }
        if let plain = pick(nil) { return plain }
        if let half = pick("fp16") { return half }
        let variants = variants
        guard let only = variants.first, let found = pick(only) else { throw nothing() }
        guard variants.count == 1 else {
            throw CalderaError(
                "\(folder) holds several variants and no plain weights; choose one of \(variants.joined(separator: ", "))."
            )
        }
        return found
    }

    private func resolve(asked variant: String) throws -> Found {
        if let found = pick(variant) { return found }
        if found.isEmpty { throw nothing() }
        let held = variants.isEmpty ? "only plain weights" : "the variants \(variants.joined(separator: ", "))"
        throw CalderaError("\(folder) holds no weights of the variant \(variant): it has \(held).")
    }

    /// A single file goes before an index.
    private func pick(_ variant: String?) -> Found? {
        let matching = found.filter { $0.variant == variant }
        return matching.first { !$0.isIndex } ?? matching.first
    }

    private var variants: [String] { Set(found.compactMap(\.variant)).sorted() }

    private func nothing() -> CalderaError {
        let looked = Self.stems.map { "\($0).safetensors" }.joined(separator: ", ")
        if let pickle = names.first(where: { $0.hasSuffix(".bin") || $0.hasSuffix(".ckpt") || $0.hasSuffix(".pt") }) {
            return CalderaError(
                "\(folder) holds weights only as a pickle (\(pickle)): download or convert them to \(looked).")
        }
        if let shard = names.first(where: { $0.hasSuffix(".safetensors") && $0.contains("-of-") }) {
            return CalderaError(
                "\(folder) holds \(shard) but no index of the shards (STEM.safetensors.index.json): download it too.")
        }
        return CalderaError(
            "\(folder) holds no weights: looked for \(looked), their variants, and their .index.json.")
    }

    private static func classify(_ name: String, _ stem: String, _ folder: String) -> Found? {
        guard name.hasPrefix(stem + ".") else { return nil }
        let parts = name.dropFirst(stem.count + 1).split(separator: ".", omittingEmptySubsequences: false)
        let path = URL(fileURLWithPath: folder).appendingPathComponent(name).path
        switch parts.map(String.init) {
        case ["safetensors"]:
            return Found(path: path, variant: nil, isIndex: false)
        case ["safetensors", "index", "json"]:
            return Found(path: path, variant: nil, isIndex: true)
        case let parts where parts.count == 2 && parts[1] == "safetensors" && !parts[0].contains("-of-"):
            return Found(path: path, variant: parts[0], isIndex: false)
        case let parts where parts.count == 4 && parts[0] == "safetensors" && parts[1] == "index" && parts[3] == "json":
            return Found(path: path, variant: parts[2], isIndex: true)
        case let parts where parts.count == 4 && Array(parts[1...]) == ["safetensors", "index", "json"]:
            return Found(path: path, variant: parts[0], isIndex: true)
        default:
            return nil
        }
    }
}
