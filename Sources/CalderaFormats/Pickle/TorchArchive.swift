import CalderaGraph

/// What `torch.save` puts into its ZIP archive: one pickle, `data.pkl`, the tensors' storages `data/KEY`, and the byte
/// order, all in one folder of any name.
struct TorchArchive: Sendable {
    /// Far more than the pickle of the largest checkpoints, which hold a few thousand names.
    private static let largestPickle = 64 << 20

    /// The pickle's bytes in the file.
    let pickle: Range<Int>
    /// Whether the storages were written by a big-endian machine.
    let isBigEndian: Bool

    private let folder: String
    private let archive: ZipArchive

    /// Throws `CalderaError` when the file is no such archive, is damaged, or is a TorchScript program.
    init(_ file: UnsafeRawBufferPointer, path: String) throws {
        let archive = try ZipArchive(file, path: path)
        let pickles = archive.entries.filter { Self.isPickle($0.key) }
        guard let (name, entry) = pickles.first, pickles.count == 1 else {
            throw CalderaError("\(path) is a ZIP archive but not one of torch.save: it lacks its one data.pkl.")
        }
        let folder = String(name.dropLast("data.pkl".count))
        guard archive.entries[folder + "constants.pkl"] == nil else {
            throw CalderaError(
                "\(path) is a TorchScript program, not weights: get the model's weights as safetensors.")
        }
        guard entry.data.count <= Self.largestPickle else {
            throw CalderaError(
                "\(path) has a pickle of \(entry.data.count) bytes, far more than tensors need: get it as safetensors.")
        }
        guard ZipArchive.checksum(UnsafeRawBufferPointer(rebasing: file[entry.data])) == entry.checksum else {
            throw CalderaError("\(path) is damaged (the checksum of its data.pkl does not match): download it again.")
        }
        (self.archive, self.folder, pickle) = (archive, folder, entry.data)
        isBigEndian = try Self.isBigEndian(file, archive.entries[folder + "byteorder"], path)
    }

    /// The bytes in the file of the storage with this key.
    func storage(_ key: String) -> Range<Int>? { archive.entries[folder + "data/" + key]?.data }

    private static func isPickle(_ name: String) -> Bool {
        let parts = name.split(separator: "/", omittingEmptySubsequences: false)
        return parts.count == 2 && parts[1] == "data.pkl"
    }

    /// Files from before PyTorch 2.1 have no such entry and are little-endian.
    private static func isBigEndian(
        _ file: UnsafeRawBufferPointer, _ entry: ZipArchive.Entry?, _ path: String
    ) throws -> Bool {
        guard let entry else { return false }
        if file[entry.data].elementsEqual("little".utf8) { return false }
        if file[entry.data].elementsEqual("big".utf8) { return true }
        throw CalderaError("\(path) has a byte order that is neither little nor big: download it again.")
    }
}
