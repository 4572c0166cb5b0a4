import CalderaGraph
import CalderaVulkan

/// A plan's weights on the device, each packed once, in chunks that no single allocation limit can stop.
final class WeightStore {
    private struct Key: Hashable {
        let name: String
        let layout: WeightLayout
    }

    /// Bytes of one chunk, unless a single weight is larger.
    private static let chunkSize = 256 << 20
    private static let alignment = 256

    private var places: [Key: (chunk: Int, offset: Int, packing: WeightPacking)] = [:]
    private var chunks: [VulkanBuffer] = []
    /// Bytes of all chunks.
    private(set) var size = 0

    /// Packs every weight that the plan's nodes read. Throws `CalderaError` when one cannot be read or finds no room.
    init(_ device: VulkanDevice, _ plan: Plan, _ source: any WeightSource) throws {
        var order: [Key] = []
        var chunkSizes: [Int] = []
        for node in plan.promptNodes + plan.stepNodes {
            for (index, tensor) in node.inputs.enumerated() {
                guard let name = plan.weightName(tensor) else { continue }
                let layout = WeightStore.layout(node.op, input: index)
                let key = Key(name: name, layout: layout)
                if places[key] != nil { continue }
                let packing = WeightPacking(layout: layout, shape: tensor.shape, dtype: plan.dtype)
                let place = WeightStore.append(packing.size, &chunkSizes)
                places[key] = (place.chunk, place.offset, packing)
                order.append(key)
            }
        }
        chunks = try chunkSizes.map { try VulkanBuffer(device, size: $0, kind: .device) }
        size = chunkSizes.reduce(0, +)
        try fill(device, source, order)
    }

    /// The bytes of a node's weight operand by device address.
    func range(_ name: String, _ op: Op, input: Int) -> ByteRange? {
        guard let place = places[Key(name: name, layout: WeightStore.layout(op, input: input))] else { return nil }
        return ByteRange(start: chunks[place.chunk].address + UInt64(place.offset), count: place.packing.size)
    }

    private static func layout(_ op: Op, input: Int) -> WeightLayout {
        if case .convolution = op, input == 1 { return .convolution }
        return .plain
    }

    private static func append(_ size: Int, _ chunks: inout [Int]) -> (chunk: Int, offset: Int) {
        if let last = chunks.last {
            let offset = (last + alignment - 1) / alignment * alignment
            if offset + size <= chunkSize {
                chunks[chunks.count - 1] = offset + size
                return (chunks.count - 1, offset)
            }
        }
        chunks.append(size)
        return (chunks.count - 1, 0)
    }

    // MARK: Upload

    /// Straight into device memory where the host sees it, else through two staging buffers in turn: one is packed while
    /// the other is copied.
    private func fill(_ device: VulkanDevice, _ source: any WeightSource, _ order: [Key]) throws {
        let isVisible = chunks.allSatisfy { $0.mapped != nil }
        var staging = isVisible ? nil : try StagingRing(device, largest: places.values.map(\.packing.size).max() ?? 0)
        for key in order {
            guard let place = places[key], let info = source.info(key.name) else {
                throw CalderaError("The weight \(key.name) is missing.")
            }
            let chunk = chunks[place.chunk]
            if let mapped = chunk.mapped {
                try source.withBytes(key.name) { bytes in
                    try place.packing.pack(bytes, stored: info.dtype, to: mapped + place.offset, name: key.name)
                }
            } else {
                try staging?.upload(to: chunk, at: place.offset, size: place.packing.size) { target in
                    try source.withBytes(key.name) { bytes in
                        try place.packing.pack(bytes, stored: info.dtype, to: target, name: key.name)
                    }
                }
            }
        }
        try staging?.finish()
    }
}

/// Two host buffers that take turns: the host fills one while the device copies from the other.
struct StagingRing {
    private struct Copy {
        let target: VulkanBuffer
        let sourceOffset: Int
        let targetOffset: Int
        let size: Int
    }

    static let bufferSize = 64 << 20

    private let device: VulkanDevice
    private let timeline: Timeline
    private let buffers: [VulkanBuffer]
    private var current = 0
    private var used = 0
    private var copies: [Copy] = []
    private var inFlight: CommandBuffer?

    /// - Parameter largest: bytes of the largest single upload.
    init(_ device: VulkanDevice, largest: Int, bufferSize: Int = StagingRing.bufferSize) throws {
        self.device = device
        timeline = try Timeline(device)
        let size = max(bufferSize, largest)
        buffers = try (0..<2).map { _ in try VulkanBuffer(device, size: size, kind: .upload) }
    }

    /// Lends `size` bytes of host memory to `fill`, and copies them to the device before `finish` returns.
    mutating func upload(
        to target: VulkanBuffer, at offset: Int, size: Int, _ fill: (UnsafeMutableRawPointer) throws -> Void
    ) throws {
        if used + size > buffers[current].size { try flush() }
        guard let mapped = buffers[current].mapped else {
            throw CalderaError("The device lends no host-visible memory.")
        }
        try fill(mapped + used)
        copies.append(Copy(target: target, sourceOffset: used, targetOffset: offset, size: size))
        used = (used + size + 255) / 256 * 256
    }

    mutating func finish() throws {
        try flush()
        try timeline.wait()
        inFlight = nil
    }

    /// Hands the filled buffer to the device and turns to the other, once its copies are done.
    private mutating func flush() throws {
        if copies.isEmpty { return }
        let (source, copies) = (buffers[current], copies)
        let commands = try CommandBuffer(device) { recorder in
            for copy in copies {
                recorder.copy(
                    from: source, at: copy.sourceOffset, to: copy.target, at: copy.targetOffset, size: copy.size)
            }
            recorder.barrier()
        }
        try timeline.wait()
        try timeline.submit(commands)
        inFlight = commands
        self.copies = []
        current = 1 - current
        used = 0
    }
}
