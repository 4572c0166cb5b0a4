import CalderaGraph
import CalderaVulkan

/// Device memory of a model's weights: those that stay are converted, packed and uploaded once; the others pass through
/// regions that are filled before each use.
///
/// The memory is made of chunks, so that a model may be larger than any one allocation. The host never holds more than
/// the pieces that are under way: the next is converted while the device copies the last.
final class WeightStore {
    let layout: WeightLayout
    private let device: VulkanDevice
    private let source: any WeightSource
    /// Where weights come from that have been replaced.
    private var replacements: [String: any WeightSource] = [:]
    private let isStaged: Bool
    private let chunks: [VulkanBuffer]
    private var regions: [VulkanBuffer] = []
    /// What the host fills and the device copies to the region of the same place; empty where the host sees the regions.
    private var stages: [VulkanBuffer] = []
    /// The last submission that reads each region.
    private var lastUses = [UInt64](repeating: 0, count: WeightLayout.regionCount)
    /// The segment that is being recorded: where its streamed weights lie.
    private var current: [WeightKey: Operand] = [:]

    /// Allocates the memory; `load` fills it.
    init(_ device: VulkanDevice, _ source: any WeightSource, _ layout: WeightLayout, isStaged: Bool) throws {
        self.device = device
        self.source = source
        self.layout = layout
        self.isStaged = isStaged
        chunks = try layout.chunkSizes.map { try VulkanBuffer(device, size: $0, kind: .device) }
    }

    /// Bytes of device memory.
    var bytes: Int { (chunks + regions + stages).reduce(0) { $0 + $1.size } }

    // MARK: Places

    /// Where a weight lies, packed as asked, while the segment that was begun last runs.
    func operand(_ key: WeightKey, shape: Shape) throws -> Operand {
        if let place = layout.places[key] {
            return Operand(
                address: chunks[place.chunk].address + UInt64(place.offset), bytes: shape.count * key.dtype.size)
        }
        guard let operand = current[key] else {
            throw CalderaError("The weight \(key.name) has no place in the plan's memory.")
        }
        return operand
    }

    /// Where a vector of fp32 numbers lies that the host computed.
    func constant(_ values: [Float]) throws -> Operand {
        guard let place = layout.constants[values] else {
            throw CalderaError("A kernel's constants have no place in the plan's memory.")
        }
        return Operand(address: chunks[place.chunk].address + UInt64(place.offset), bytes: values.count * 4)
    }

    /// From now on `operand` tells where the segment's streamed weights will be.
    func begin(_ segment: StreamSegment) {
        current = [:]
        for entry in segment.entries {
            let address = regions[segment.region].address + UInt64(entry.offset)
            current[entry.weight.key] = Operand(address: address, bytes: entry.weight.bytes)
        }
    }

    // MARK: Loading

    /// Uploads the constants and the weights that stay, and makes room for the others.
    func load() throws {
        let uploader = uploader(for: layout.resident)
        for (values, place) in layout.constants {
            try uploader.upload(bytes: values.count * 4, to: chunks[place.chunk], at: place.offset) { target in
                values.withUnsafeBytes {
                    target.copyMemory(from: $0.baseAddress ?? UnsafeRawPointer(target), byteCount: $0.count)
                }
            }
        }
        for weight in layout.resident { try upload(weight, uploader) }
        try uploader.finish()
        if layout.regionSize == 0 { return }
        for _ in 0..<WeightLayout.regionCount {
            regions.append(try VulkanBuffer(device, size: layout.regionSize, kind: .device))
            if isStaged { stages.append(try VulkanBuffer(device, size: layout.regionSize, kind: .upload)) }
        }
    }

    /// See `Executable.replaceWeights`; the device is idle.
    func replace(_ names: Set<String>, from source: any WeightSource) throws {
        for name in names { replacements[name] = source }
        let changed = layout.resident.filter { names.contains($0.key.name) }
        let uploader = uploader(for: changed)
        for weight in changed { try upload(weight, uploader) }
        try uploader.finish()
    }

    /// Where a weight comes from now.
    func source(of name: String) -> any WeightSource { replacements[name] ?? source }

    private func uploader(for weights: [DeviceWeight]) -> Uploader {
        Uploader(device, isStaged: isStaged, pieceSize: WeightStore.pieceSize(weights))
    }

    /// Bytes of the buffers through which these weights are uploaded.
    static func pieceSize(_ weights: [DeviceWeight]) -> Int {
        min(Uploader.largestPiece, weights.map(\.size).max() ?? 0)
    }

    private func upload(_ weight: DeviceWeight, _ uploader: Uploader) throws {
        guard let place = layout.places[weight.key] else { return }
        try pack(weight) { packer, rows in
            var fits = true
            let offset = place.offset + rows.lowerBound * packer.rowBytes
            try uploader.upload(bytes: rows.count * packer.rowBytes, to: chunks[place.chunk], at: offset) {
                fits = packer.pack(rows, to: $0)
            }
            return fits
        }
    }

    /// Packs a weight in pieces of some rows; `write` says whether its numbers fit the target's type.
    private func pack(_ weight: DeviceWeight, _ write: (WeightPacker, Range<Int>) throws -> Bool) throws {
        let (name, shape) = (weight.key.name, weight.shape)
        let source = source(of: name)
        guard let info = source.info(name) else { throw CalderaError("The model has no weight named \(name).") }
        guard info.shape.count == shape.count, info.dtype != .int32 else {
            throw CalderaError("The weight \(name) is \(info.dtype) \(info.shape) where \(shape) is needed.")
        }
        defer { source.release(name) }
        try source.withBytes(name) { bytes in
            guard bytes.count >= shape.count * info.dtype.size else {
                throw CalderaError("The weight \(name) is cut off: \(bytes.count) bytes for \(shape).")
            }
            let packer = WeightPacker(
                source: bytes, sourceType: info.dtype, targetType: weight.key.dtype, packing: weight.key.packing,
                shape: shape)
            let rowsAtATime = max(1, Uploader.largestPiece / max(packer.rowBytes, 1))
            for row in stride(from: 0, to: packer.rowBytes > 0 ? packer.rows : 0, by: rowsAtATime) {
                guard try write(packer, row..<min(row + rowsAtATime, packer.rows)) else {
                    throw CalderaError(
                        "The weight \(name) holds numbers beyond the range of \(packer.targetType): use --precision fp32."
                    )
                }
            }
        }
    }

    // MARK: Streaming

    /// Writes a segment's weights where the device will look for them, once nothing that was submitted before still
    /// reads what they replace. While it waits and writes, the segment before runs.
    func fill(_ segment: StreamSegment, next: StreamSegment?, _ timeline: Timeline) throws {
        if segment.entries.isEmpty { return }
        for entry in next?.entries ?? [] { source(of: entry.weight.key.name).willRead(entry.weight.key.name) }
        try timeline.wait(for: lastUses[segment.region])
        let buffer = isStaged ? stages[segment.region] : regions[segment.region]
        guard let mapped = buffer.mapped else {
            throw CalderaError("\(device.info.name) has no memory through which the host could send weights.")
        }
        for entry in segment.entries {
            try pack(entry.weight) { packer, rows in
                packer.pack(rows, to: mapped + entry.offset + rows.lowerBound * packer.rowBytes)
            }
        }
    }

    /// Says that the last submission reads the segment's region.
    func didSubmit(_ segment: StreamSegment, _ timeline: Timeline) {
        if !segment.entries.isEmpty { lastUses[segment.region] = timeline.last }
    }

    /// Records the copy of a filled staging buffer to its region; nothing where the host writes the region itself.
    func recordCopy(_ segment: StreamSegment, _ recorder: CommandRecorder) {
        guard isStaged, segment.size > 0 else { return }
        recorder.copy(from: stages[segment.region], to: regions[segment.region], size: segment.size)
        recorder.barrier()
    }
}
