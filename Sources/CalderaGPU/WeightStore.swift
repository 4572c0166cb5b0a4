import CalderaGraph
import CalderaVulkan

/// Device memory of a model's weights: each is converted, packed and uploaded when a node first asks for it.
///
/// The memory is made of chunks, so that a model may be larger than any one allocation. The host never holds more than
/// the pieces that are under way: the next is converted while the device copies the last.
final class WeightStore {
    private struct Key: Hashable {
        let name: String
        let packing: Packing
        let dtype: DType
    }

    private static let largestChunk = 256 << 20
    private static let alignment = 256

    private let device: VulkanDevice
    private let source: any WeightSource
    private var known: [Key: Operand] = [:]
    private var constants: [[Float]: Operand] = [:]
    private var chunks: [VulkanBuffer] = []
    /// Bytes of the last chunk that are taken.
    private var used = 0
    /// What the plan's weights still need, as far as they are not loaded: decides the size of the next chunk.
    private var expected: Int
    private let uploader: Uploader

    init(_ device: VulkanDevice, _ source: any WeightSource, expecting bytes: Int) throws {
        self.device = device
        self.source = source
        expected = bytes
        uploader = try Uploader(device)
    }

    /// Bytes of device memory.
    var bytes: Int { chunks.reduce(0) { $0 + $1.size } }
    /// What keeps the memory alive.
    var buffers: [VulkanBuffer] { chunks }

    /// Where a weight lies, packed as asked.
    func operand(_ name: String, shape: Shape, packing: Packing, dtype: DType) throws -> Operand {
        let key = Key(name: name, packing: packing, dtype: dtype)
        if let operand = known[key] { return operand }
        guard let info = source.info(name) else { throw CalderaError("The model has no weight named \(name).") }
        guard info.shape.count == shape.count, info.dtype != .int32 else {
            throw CalderaError("The weight \(name) is \(info.dtype) \(info.shape) where \(shape) is needed.")
        }
        let (chunk, operand) = try place(bytes: shape.count * dtype.size)
        try source.withBytes(name) { bytes in
            guard bytes.count >= shape.count * info.dtype.size else {
                throw CalderaError("The weight \(name) is cut off: \(bytes.count) bytes for \(shape).")
            }
            let packer = WeightPacker(
                source: bytes, sourceType: info.dtype, targetType: dtype, packing: packing, shape: shape)
            try upload(packer, name, to: chunk, at: Int(operand.address - chunk.address))
        }
        known[key] = operand
        return operand
    }

    /// Where a vector of fp32 numbers lies that the host computed.
    func constant(_ values: [Float]) throws -> Operand {
        if let operand = constants[values] { return operand }
        let (chunk, operand) = try place(bytes: values.count * 4)
        try uploader.upload(bytes: operand.bytes, to: chunk, at: Int(operand.address - chunk.address)) { target in
            values.withUnsafeBytes {
                target.copyMemory(from: $0.baseAddress ?? UnsafeRawPointer(target), byteCount: $0.count)
            }
        }
        constants[values] = operand
        return operand
    }

    /// Blocks until everything has arrived, and gives the staging memory back.
    func finish() throws { try uploader.finish() }

    private func upload(_ packer: WeightPacker, _ name: String, to chunk: VulkanBuffer, at offset: Int) throws {
        let rowsAtATime = max(1, Uploader.pieceSize / max(packer.rowBytes, 1))
        var row = 0
        while row < packer.rows, packer.rowBytes > 0 {
            let range = row..<min(row + rowsAtATime, packer.rows)
            var fits = true
            try uploader.upload(bytes: range.count * packer.rowBytes, to: chunk, at: offset + row * packer.rowBytes) {
                fits = packer.pack(range, to: $0)
            }
            guard fits else {
                throw CalderaError(
                    "The weight \(name) holds numbers beyond the range of \(packer.targetType): use --precision fp32.")
            }
            row = range.upperBound
        }
    }

    private func place(bytes: Int) throws -> (VulkanBuffer, Operand) {
        let size = (max(bytes, 1) + WeightStore.alignment - 1) / WeightStore.alignment * WeightStore.alignment
        if chunks.last.map({ $0.size - used < size }) ?? true {
            let chunkSize = max(size, min(WeightStore.largestChunk, expected, device.info.largestAllocation))
            chunks.append(try VulkanBuffer(device, size: chunkSize, kind: .device))
            used = 0
        }
        let chunk = chunks[chunks.count - 1]
        let operand = Operand(address: chunk.address + UInt64(used), bytes: bytes)
        used += size
        expected = max(0, expected - size)
        return (chunk, operand)
    }
}

/// Brings bytes into device memory: straight where the host sees it, else through two staging buffers in turn.
final class Uploader {
    static let pieceSize = 32 << 20

    private struct Stage {
        let buffer: VulkanBuffer
        /// The copy under way from this buffer, kept until it is done.
        var copy: CommandBuffer?
        let timeline: Timeline
    }

    private let device: VulkanDevice
    private var stages: [Stage] = []
    private var next = 0

    init(_ device: VulkanDevice) throws { self.device = device }

    // A copy must be done before its buffers go, also where an error has cut the uploads short.
    deinit {
        for stage in stages { try? stage.timeline.wait() }
    }

    /// Lets `fill` write `bytes` bytes that end up at `offset` of `target`.
    func upload(
        bytes: Int, to target: VulkanBuffer, at offset: Int, _ fill: (UnsafeMutableRawPointer) -> Void
    ) throws {
        if let mapped = target.mapped { return fill(mapped + offset) }
        let index = try freeStage(atLeast: bytes)
        let buffer = stages[index].buffer
        guard let mapped = buffer.mapped else {
            throw CalderaError("\(device.info.name) has no memory through which the host could send weights.")
        }
        fill(mapped)
        let copy = try CommandBuffer(device) { $0.copy(from: buffer, at: 0, to: target, at: offset, size: bytes) }
        try stages[index].timeline.submit(copy)
        stages[index].copy = copy
    }

    func finish() throws {
        for stage in stages { try stage.timeline.wait() }
        stages.removeAll()
    }

    private func freeStage(atLeast bytes: Int) throws -> Int {
        if stages.count < 2 {
            let buffer = try VulkanBuffer(device, size: max(bytes, Uploader.pieceSize), kind: .upload)
            stages.append(Stage(buffer: buffer, copy: nil, timeline: try Timeline(device)))
            return stages.count - 1
        }
        next = 1 - next
        try stages[next].timeline.wait()
        stages[next].copy = nil
        if stages[next].buffer.size < bytes {
            let buffer = try VulkanBuffer(device, size: bytes, kind: .upload)
            stages[next] = Stage(buffer: buffer, copy: nil, timeline: try Timeline(device))
        }
        return next
    }
}
