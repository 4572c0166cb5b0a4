import CalderaGraph
import Foundation

/// Opens a file of weights by what it holds, whatever it is called.
package enum WeightFile {
    /// Throws `CalderaError` when there is no such file, or it is of a form that Caldera does not read.
    package static func open(_ path: String) throws -> any WeightSource {
        let start = try beginning(path)
        switch start {
        case _ where start.starts(with: [0x50, 0x4b, 0x03, 0x04]):
            throw CalderaError("\(path) is a PyTorch pickle: download or convert it to safetensors.")
        case _ where start.first == 0x80 && start.count > 1 && (2...5).contains(start[1]):
            throw CalderaError(
                "\(path) is a pickle of PyTorch before 1.6: save it again with a newer one, or convert it to safetensors."
            )
        case _ where start.starts(with: Array("GGUF".utf8)):
            throw CalderaError("\(path) is a GGUF file, which Caldera does not read: download the safetensors file.")
        case _ where start.starts(with: Array("version https://git-lfs".utf8)):
            throw CalderaError("\(path) is a Git LFS pointer, not the file itself: fetch it with git lfs pull.")
        default:
            return try SafetensorsFile(path)
        }
    }

    /// The first bytes of a file.
    private static func beginning(_ path: String) throws -> [UInt8] {
        let file = try MappedFile(path)
        return withExtendedLifetime(file) { Array(file.bytes.prefix(32)) }
    }
}
