import CalderaGraph

/// A GGUF file, versions 2 and 3: metadata and the places of its tensors.
/// Reference: ggml's `docs/gguf.md`.
package struct GGUFFile: Sendable {
    struct Entry: Sendable {
        /// PyTorch's order, outermost first.
        let shape: Shape
        let type: GGUFType
        /// In the file.
        let range: Range<Int>
    }

    let file: MappedFile
    let metadata: [String: GGUFValue]
    let tensors: [String: Entry]

    static let magic = Array("GGUF".utf8)
    private static let mostDimensions = 4

    /// Whether a file begins as a GGUF file does.
    static func isOne(_ file: MappedFile) -> Bool { file.bytes.starts(with: magic) }

    /// Throws `CalderaError` when the file is missing, damaged or cut short, is of another version or byte order, or has
    /// tensors of a type that is not read.
    package init(_ path: String) throws {
        file = try MappedFile(path)
        guard GGUFFile.isOne(file) else { throw CalderaError("\(path) is not a GGUF file: is it the right one?") }
        var cursor = GGUFCursor(UnsafeRawBufferPointer(rebasing: file.bytes[4...]), path: path)
        let version: UInt32 = try cursor.integer()
        guard version == 2 || version == 3 else {
            let isSwapped = (1...3).contains(version.byteSwapped)
            throw CalderaError(
                isSwapped
                    ? "\(path) is a GGUF file for big-endian machines, which Caldera does not read: convert it."
                    : "\(path) is a GGUF file of version \(version); Caldera reads 2 and 3: convert it again.")
        }
        // A tensor takes a name's length, dimensions, a type and an offset at least; a value its key's length and a type.
        let tensorCount = try cursor.count(of: 24)
        let valueCount = try cursor.count(of: 12)
        var metadata: [String: GGUFValue] = [:]
        for _ in 0..<valueCount {
            let key = try cursor.string()
            metadata[key] = try GGUFValue(from: &cursor)
        }
        self.metadata = metadata
        tensors = try GGUFFile.tensors(&cursor, count: tensorCount, alignment: GGUFFile.alignment(metadata, path), file)
    }

    package var names: [String] { tensors.keys.sorted() }

    /// The shape in PyTorch's order, outermost first, or nil where there is no such tensor.
    package func shape(_ name: String) -> Shape? { tensors[name]?.shape }

    /// All elements of a tensor, unpacked. Throws `CalderaError` when there is none of that name.
    package func floats(_ name: String) throws -> [Float] {
        guard let entry = tensors[name] else { throw CalderaError("\(file.path) has no tensor \(name).") }
        let count = entry.shape.count
        return [Float](unsafeUninitializedCapacity: count) { buffer, initialized in
            withExtendedLifetime(file) {
                guard let base = buffer.baseAddress else { return }
                GGUFBlocks.unpack(
                    UnsafeRawBufferPointer(rebasing: file.bytes[entry.range]), entry.type, to: base)
            }
            initialized = count
        }
    }

    private static func alignment(_ metadata: [String: GGUFValue], _ path: String) throws -> Int {
        switch metadata["general.alignment"] {
        case nil: return 32
        case .int(let number) where number > 0 && number <= 1 << 20 && number.nonzeroBitCount == 1: return number
        default: throw CalderaError("\(path): general.alignment is no power of two: the file is damaged.")
        }
    }

    private static func tensors(
        _ cursor: inout GGUFCursor, count: Int, alignment: Int, _ file: MappedFile
    ) throws -> [String: Entry] {
        var infos: [(name: String, shape: Shape, type: GGUFType, offset: Int)] = []
        for _ in 0..<count { infos.append(try info(&cursor)) }
        // The magic number, which the cursor has not seen, counts too.
        let dataStart = (4 + cursor.offset + alignment - 1) / alignment * alignment
        var tensors: [String: Entry] = [:]
        for info in infos {
            let size = try size(info.shape, info.type, info.name, file.path)
            let (start, overflow) = dataStart.addingReportingOverflow(info.offset)
            guard !overflow, start <= file.bytes.count, size <= file.bytes.count - start else {
                throw CalderaError(
                    "\(file.path) is cut short: the tensor \(info.name) lies behind its end; download it again.")
            }
            guard info.offset.isMultiple(of: alignment) else {
                throw CalderaError("\(file.path): the tensor \(info.name) lies at an odd place: the file is damaged.")
            }
            let entry = Entry(shape: info.shape, type: info.type, range: start..<start + size)
            guard tensors.updateValue(entry, forKey: info.name) == nil else {
                throw CalderaError("\(file.path) has two tensors named \(info.name): the file is damaged.")
            }
        }
        return tensors
    }

    private static func info(
        _ cursor: inout GGUFCursor
    ) throws -> (name: String, shape: Shape, type: GGUFType, offset: Int) {
        let name = try cursor.string()
        let rank: UInt32 = try cursor.integer()
        guard rank <= mostDimensions else {
            throw CalderaError("\(cursor.path): the tensor \(name) has \(rank) dimensions: the file is damaged.")
        }
        var extents: [Int] = []
        for _ in 0..<rank {
            let number: UInt64 = try cursor.integer()
            guard let extent = Int(exactly: number) else { throw cursor.cutShort() }
            extents.append(extent)
        }
        let raw: UInt32 = try cursor.integer()
        let offset: UInt64 = try cursor.integer()
        guard let offset = Int(exactly: offset) else { throw cursor.cutShort() }
        guard let type = GGUFType(rawValue: raw) else {
            throw CalderaError(
                "\(cursor.path): the tensor \(name) is of the type \(GGUFType.name(raw)), which Caldera does not read: "
                    + "take a file of F16, BF16, Q8_0, Q6_K, Q5, Q4_K or Q4.")
        }
        return (name, Shape(extents.reversed()), type, offset)
    }

    /// Bytes; blocks lie within rows.
    private static func size(_ shape: Shape, _ type: GGUFType, _ name: String, _ path: String) throws -> Int {
        guard let count = Shape.checkedCount(shape.extents), shape.channels.isMultiple(of: type.blockCount),
            let size = Shape.checkedCount([count / type.blockCount, type.blockSize])
        else {
            throw CalderaError("\(path): the tensor \(name) cannot be \(shape): the file is damaged.")
        }
        return size
    }
}
