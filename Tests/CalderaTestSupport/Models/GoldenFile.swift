import CalderaFormats
import CalderaGraph
import Foundation

/// The tensors that an oracle wrote down for one model: inputs and outputs of its parts, as PyTorch lays them out.
package struct GoldenFile: Sendable {
    private let source: any WeightSource

    package init(_ source: any WeightSource) {
        self.source = source
    }

    /// Opens a safetensors file. Throws `CalderaError` when it is missing or broken.
    package init(_ url: URL) throws {
        source = try SafetensorsFile(url.path)
    }

    /// The tensor of that name: fp32 for floating types, whatever their width, int32 for int32.
    /// Throws `CalderaError` when there is none.
    package func tensor(_ name: String) throws -> HostTensor {
        guard let info = source.info(name) else { throw CalderaError("The golden file has no tensor \(name).") }
        return try source.withBytes(name) { bytes in
            let count = info.shape.count
            guard bytes.count == count * info.dtype.size else {
                throw CalderaError("Golden tensor \(name) has \(bytes.count) bytes, which \(info.shape) does not fill.")
            }
            switch info.dtype {
            case .int32:
                return HostTensor(info.shape, Self.elements(bytes, count, Int32.self))
            case .float32:
                return HostTensor(info.shape, Self.elements(bytes, count, UInt32.self).map(Float.init(bitPattern:)))
            case .float16:
                let halves = Self.elements(bytes, count, UInt16.self)
                return HostTensor(info.shape, halves.map { Float(Float16(bitPattern: $0)) })
            case .bfloat16:
                let halves = Self.elements(bytes, count, UInt16.self)
                return HostTensor(info.shape, halves.map { Float(bitPattern: UInt32($0) << 16) })
            }
        }
    }

    /// The picture or feature map of that name, [batch, channels, height, width] in the file, as the engine lays it
    /// out: [batch, height, width, channels].
    package func channelsLast(_ name: String) throws -> HostTensor { try tensor(name).channelsLast() }

    /// Every name that starts with `prefix`, sorted.
    package func names(startingWith prefix: String = "") -> [String] {
        source.names.filter { $0.hasPrefix(prefix) }.sorted()
    }

    private static func elements<Element: FixedWidthInteger>(
        _ bytes: UnsafeRawBufferPointer, _ count: Int, _: Element.Type
    ) -> [Element] {
        (0..<count).map { index in
            Element(
                littleEndian: bytes.loadUnaligned(
                    fromByteOffset: index * MemoryLayout<Element>.size, as: Element.self))
        }
    }
}
