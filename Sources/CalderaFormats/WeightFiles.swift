import CalderaGraph
import Foundation

/// The weight files of one component's folder, and the choice among them.
///
/// Plain: `STEM.EXT` or `STEM.EXT.index.json`. A variant: `STEM.VARIANT.EXT`, `STEM.EXT.index.VARIANT.json` or
/// `STEM.VARIANT.EXT.index.json`. How the shards themselves are called (`STEM.fp16-00001-of-00002.safetensors`, or the
/// older `STEM-00001-of-00002.fp16.safetensors`) is for the index to say. EXT is `safetensors`, where STEM is
/// `diffusion_pytorch_model` (diffusers) or `model` (transformers); only where there are none of those it is `bin`
/// (PyTorch's pickles), where STEM is `diffusion_pytorch_model` or `pytorch_model`.
struct WeightFiles {
    struct Found {
        let path: String
        let variant: String?
        let isIndex: Bool
    }

    /// One of the forms in which folders hold weights.
    private struct Form {
        let suffix: String
        let stems: [String]

        /// In the order of preference.
        static let all = [
            Form(suffix: "safetensors", stems: ["diffusion_pytorch_model", "model"]),
            Form(suffix: "bin", stems: ["diffusion_pytorch_model", "pytorch_model"]),
        ]
    }

    private let folder: String
    private let names: [String]
    /// The weight files of each form.
    private let found: [[Found]]

    /// Throws `CalderaError` when the folder cannot be listed.
    init(folder: String) throws {
        guard let names = try? FileManager.default.contentsOfDirectory(atPath: folder).sorted() else {
            throw CalderaError("The folder \(folder) cannot be read: check its permissions.")
        }
        self.folder = folder
        self.names = names
        found = Form.all.map { form in
            form.stems.flatMap { stem in names.compactMap { Self.classify($0, stem, form.suffix, folder) } }
        }
    }

    /// The file to open. Without a `variant` the plain one, then `fp16`, then whichever is the only one.
    func resolve(variant: String?) throws -> Found {
        if let variant { return try resolve(asked: variant) }
        guard let files = found.first(where: { !$0.isEmpty }) else { throw nothing() }
        if let plain = Self.pick(nil, files) { return plain }
        if let half = Self.pick("fp16", files) { return half }
        let variants = Self.variants(files)
        guard let only = variants.first, let found = Self.pick(only, files) else { throw nothing() }
        guard variants.count == 1 else {
            throw CalderaError(
                "\(folder) holds several variants and no plain weights; choose one of \(variants.joined(separator: ", "))."
            )
        }
        return found
    }

    private func resolve(asked variant: String) throws -> Found {
        for files in found {
            if let found = Self.pick(variant, files) { return found }
        }
        let files = found.flatMap { $0 }
        if files.isEmpty { throw nothing() }
        let variants = Self.variants(files)
        let held = variants.isEmpty ? "only plain weights" : "the variants \(variants.joined(separator: ", "))"
        throw CalderaError("\(folder) holds no weights of the variant \(variant): it has \(held).")
    }

    /// A single file goes before an index.
    private static func pick(_ variant: String?, _ files: [Found]) -> Found? {
        let matching = files.filter { $0.variant == variant }
        return matching.first { !$0.isIndex } ?? matching.first
    }

    private static func variants(_ files: [Found]) -> [String] { Set(files.compactMap(\.variant)).sorted() }

    private func nothing() -> CalderaError {
        let looked = Form.all.flatMap { form in form.stems.map { "\($0).\(form.suffix)" } }.joined(separator: ", ")
        let shard = names.first { name in
            name.contains("-of-") && Form.all.contains { name.hasSuffix("." + $0.suffix) }
        }
        if let shard, let suffix = shard.split(separator: ".").last {
            return CalderaError(
                "\(folder) holds \(shard) but no index of the shards (STEM.\(suffix).index.json): download it too.")
        }
        return CalderaError(
            "\(folder) holds no weights: looked for \(looked), their variants, and their .index.json.")
    }

    private static func classify(_ name: String, _ stem: String, _ suffix: String, _ folder: String) -> Found? {
        guard name.hasPrefix(stem + ".") else { return nil }
        let parts = name.dropFirst(stem.count + 1).split(separator: ".", omittingEmptySubsequences: false)
        let path = URL(fileURLWithPath: folder).appendingPathComponent(name).path
        switch parts.map(String.init) {
        case [suffix]:
            return Found(path: path, variant: nil, isIndex: false)
        case [suffix, "index", "json"]:
            return Found(path: path, variant: nil, isIndex: true)
        case let parts where parts.count == 2 && parts[1] == suffix && !parts[0].contains("-of-"):
            return Found(path: path, variant: parts[0], isIndex: false)
        case let parts where parts.count == 4 && parts[0] == suffix && parts[1] == "index" && parts[3] == "json":
            return Found(path: path, variant: parts[2], isIndex: true)
        case let parts where parts.count == 4 && Array(parts[1...]) == [suffix, "index", "json"]:
            return Found(path: path, variant: parts[0], isIndex: true)
        default:
            return nil
        }
    }
}
