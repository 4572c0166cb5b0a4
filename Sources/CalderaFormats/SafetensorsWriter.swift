import CalderaGraph
import Foundation

/// Writes safetensors files.
public enum SafetensorsWriter {
    /// A tensor to be written: row-major, contiguous, little-endian bytes.
    public struct Tensor: Sendable {
        public let name: String
        public let dtype: DType
        public let shape: Shape
        let bytes: [UInt8]

        /// Throws `CalderaError` when `bytes` is not what the type and shape need.
        public init(_ name: String, dtype: DType, shape: Shape, bytes: [UInt8]) throws {
            guard let count = Shape.checkedCount(shape.extents),
                count.multipliedReportingOverflow(by: dtype.size)
                    == (bytes.count, false)
            else {
                throw CalderaError("Tensor \(name) has \(bytes.count) bytes, which \(dtype) \(shape) does not fill.")
            }
            self.name = name
            self.dtype = dtype
            self.shape = shape
            self.bytes = bytes
        }

        /// fp32 or int32, as the tensor holds it.
        public init(_ name: String, _ tensor: HostTensor) {
            self.name = name
            shape = tensor.shape
            switch tensor.values {
            case .float(let values):
                dtype = .float32
                bytes = values.withUnsafeBytes(Array.init)
            case .int(let values):
                dtype = .int32
                bytes = values.withUnsafeBytes(Array.init)
            }
        }
    }

    /// A tensor whose bytes are made while the file is written, so that no more than one is ever in memory.
    package struct StreamedTensor {
        package let name: String
        package let dtype: DType
        package let shape: Shape
        /// Hands over the bytes, row-major and little-endian, in one or more pieces.
        let produce: ((UnsafeRawBufferPointer) throws -> Void) throws -> Void

        package init(
            _ name: String, dtype: DType, shape: Shape,
            produce: @escaping ((UnsafeRawBufferPointer) throws -> Void) throws -> Void
        ) {
            self.name = name
            self.dtype = dtype
            self.shape = shape
            self.produce = produce
        }

        /// Throws `CalderaError` when the bytes are too many for an `Int`.
        fileprivate func byteCount() throws -> Int {
            guard let count = Shape.checkedCount(shape.extents + [dtype.size]) else {
                throw CalderaError("Tensor \(name) of shape \(shape) is too large to be written.")
            }
            return count
        }
    }

    /// Writes a whole file, or nothing: see `AtomicFile`. Tensors are laid out by element size, largest first, then by
    /// name, so that each is aligned to its own element size, as the reference writer does.
    /// Throws `CalderaError` for two tensors of one name, and when the folder or the disk refuses.
    public static func write(_ tensors: [Tensor], metadata: [String: String] = [:], to path: String) throws {
        let streamed = tensors.map { tensor in
            StreamedTensor(tensor.name, dtype: tensor.dtype, shape: tensor.shape) { append in
                try tensor.bytes.withUnsafeBytes(append)
            }
        }
        try write(streaming: streamed, metadata: metadata, to: path)
    }

    /// The same for tensors whose bytes are made one after the other. Throws also what making them throws.
    package static func write(
        streaming tensors: [StreamedTensor], metadata: [String: String] = [:], to path: String
    ) throws {
        let ordered = tensors.sorted { ($1.dtype.size, $0.name) < ($0.dtype.size, $1.name) }
        let header = try header(ordered, metadata)
        try AtomicFile.write(to: path) { file in
            let length = UInt64(header.count).littleEndian
            try withUnsafeBytes(of: length) { try file.append($0) }
            try header.withUnsafeBytes { try file.append($0) }
            for tensor in ordered { try append(tensor, to: file) }
        }
    }

    private static func append(_ tensor: StreamedTensor, to file: AtomicFile) throws {
        var missing = try tensor.byteCount()
        try tensor.produce { bytes in
            missing -= bytes.count
            try file.append(bytes)
        }
        guard missing == 0 else {
            throw CalderaError("Tensor \(tensor.name) does not fill its shape \(tensor.shape): its file is damaged.")
        }
    }

    private static func header(_ tensors: [StreamedTensor], _ metadata: [String: String]) throws -> [UInt8] {
        var members: [String: Member] = metadata.isEmpty ? [:] : ["__metadata__": .metadata(metadata)]
        var end = 0
        for tensor in tensors {
            guard members[tensor.name] == nil, tensor.name != "__metadata__" else {
                throw CalderaError("Two tensors of one file are called \(tensor.name).")
            }
            let begin = end
            end += try tensor.byteCount()
            members[tensor.name] = .tensor(tensor, begin, end)
        }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        var bytes = Array(try encoder.encode(members))
        while bytes.count % 8 != 0 { bytes.append(UInt8(ascii: " ")) }
        return bytes
    }

    private enum Member: Encodable {
        case metadata([String: String])
        case tensor(StreamedTensor, Int, Int)

        func encode(to encoder: any Encoder) throws {
            switch self {
            case .metadata(let strings):
                try strings.encode(to: encoder)
            case .tensor(let tensor, let begin, let end):
                var container = encoder.container(keyedBy: AnyKey.self)
                try container.encode(tensor.dtype.storedType, forKey: AnyKey(stringValue: "dtype"))
                try container.encode(tensor.shape.extents, forKey: AnyKey(stringValue: "shape"))
                try container.encode([begin, end], forKey: AnyKey(stringValue: "data_offsets"))
            }
        }
    }
}

extension DType {
    /// The type as safetensors spells it.
    var storedType: String {
        switch self {
        case .float32: "F32"
        case .float16: "F16"
        case .bfloat16: "BF16"
        case .int32: "I32"
        }
    }
}
