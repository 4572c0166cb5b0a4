import CalderaGraph
import CalderaVulkan
import Foundation

/// A plan recorded into two command buffers, one for the prompt stage and one for a step, each replayed as often as it is
/// asked for: between replays the host does nothing but submit.
final class VulkanExecutable: Executable {
    private let backend: VulkanBackend
    private let plan: Plan
    private let map: MemoryMap
    private let weights: WeightStore
    private let sums: VulkanBuffer
    private let tables: VulkanBuffer
    private let timeline: Timeline
    private var recordings: [Stage: CommandBuffer] = [:]

    init(_ backend: VulkanBackend, _ plan: Plan, _ source: any WeightSource) throws {
        let device = backend.device
        self.backend = backend
        self.plan = plan
        timeline = try Timeline(device)
        map = try MemoryMap(device, plan)
        weights = try WeightStore(device, plan, source)
        let lowering = Lowering(plan: plan, choice: backend.choice, scratch: nil)
        let nodes = plan.promptNodes + plan.stepNodes
        sums = try VulkanBuffer(device, size: nodes.map(lowering.scratchSize).max() ?? 0, kind: .device)
        let frequencies = FrequencyTables(nodes)
        tables = try VulkanBuffer(device, size: frequencies.size, kind: .upload)
        let scratch = try Scratch(
            sums: ByteRange(start: sums.address, count: sums.size), frequencies: frequencies.write(to: tables))
        let ready = Lowering(plan: plan, choice: backend.choice, scratch: scratch)
        for stage in [Stage.prompt, .step] { recordings[stage] = try record(plan.nodes(stage), ready) }
    }

    var memory: MemoryUse {
        MemoryUse(weights: weights.size, arena: plan.arenaSize, persistent: plan.persistentSize)
    }

    func run(_ stage: Stage) throws {
        guard let recording = recordings[stage == .step ? .step : .prompt] else { return }
        try timeline.run(recording)
    }

    // MARK: Recording

    private func record(_ nodes: [Node], _ lowering: Lowering) throws -> CommandBuffer {
        let device = backend.device
        return try CommandBuffer(device) { recorder in
            var hazards = HazardTracker()
            for node in nodes {
                for call in try lowering.calls(node, addresses(node)) {
                    if hazards.needsBarrier(reads: call.reads, writes: call.writes) { recorder.barrier() }
                    let pipeline = try device.pipeline(
                        call.shader, words: KernelBinaries.words(call.shader) ?? [], constants: call.constants)
                    recorder.dispatch(pipeline, constants: call.push.bytes, groups: folded(call.groups))
                }
            }
            recorder.hostBarrier()
        }
    }

    /// A grid of one dimension as two, where it is longer than the device allows.
    private func folded(_ groups: Int) -> (x: Int, y: Int, z: Int) {
        let widest = backend.device.info.maxWorkgroupCount.0
        return groups <= widest ? (groups, 1, 1) : (widest, (groups + widest - 1) / widest, 1)
    }

    private func addresses(_ node: Node) throws -> NodeAddresses {
        let inputs = try node.inputs.enumerated().map { index, tensor in
            if let name = plan.weightName(tensor) { return try found(weights.range(name, node.op, input: index), node) }
            return try found(map.range(tensor), node)
        }
        let target = try found(map.range(node.target ?? node.output), node)
        return NodeAddresses(node: node, inputs: inputs, output: target)
    }

    private func found(_ range: ByteRange?, _ node: Node) throws -> ByteRange {
        guard let range else { throw CalderaError("\(node.label): an operand of \(node.op.name) has no memory.") }
        return range
    }

    // MARK: Host values

    func write(_ name: String, _ tensor: HostTensor) throws {
        let port = try plan.port(name)
        guard tensor.shape == port.tensor.shape else {
            throw CalderaError("The input \(name) is \(port.tensor.shape), not \(tensor.shape).")
        }
        let bytes = try HostBytes.encode(tensor, as: port.tensor.dtype, name: name)
        guard let place = map.place(port.tensor) else { throw CalderaError("The input \(name) has no memory.") }
        if let mapped = place.buffer.mapped {
            bytes.withUnsafeBytes { (mapped + place.offset).copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
            return
        }
        var staging = try StagingRing(backend.device, largest: bytes.count, bufferSize: bytes.count)
        try staging.upload(to: place.buffer, at: place.offset, size: bytes.count) { target in
            bytes.withUnsafeBytes { target.copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
        }
        try staging.finish()
    }

    func read(_ name: String) throws -> HostTensor {
        let port = try plan.source(name)
        guard let place = map.place(port.tensor) else { throw CalderaError("The output \(name) has no memory.") }
        let size = port.tensor.shape.count * port.tensor.dtype.size
        if let mapped = place.buffer.mapped {
            let bytes = UnsafeRawBufferPointer(start: mapped + place.offset, count: size)
            return HostBytes.decode(bytes, port.tensor)
        }
        let readback = try VulkanBuffer(backend.device, size: size, kind: .readback)
        try timeline.run(
            CommandBuffer(backend.device) { recorder in
                recorder.copy(from: place.buffer, at: place.offset, to: readback, size: size)
                recorder.hostBarrier()
            })
        return HostBytes.decode(UnsafeRawBufferPointer(start: readback.mapped, count: size), port.tensor)
    }
}

/// The frequencies of a plan's sinusoid nodes, from the host's libm, in which PyTorch's values lie too.
private struct FrequencyTables {
    private var tables: [(id: Int, values: [Float])] = []

    init(_ nodes: [Node]) {
        for node in nodes {
            guard case .sinusoid(let channels, _, let shift) = node.op else { continue }
            let half = Float(channels / 2)
            let values = (0..<channels / 2).map { exp(-Float(log(10_000.0)) * Float($0) / (half - shift)) }
            tables.append((node.output.id, values))
        }
    }

    var size: Int { tables.reduce(0) { $0 + 4 * $1.values.count } }

    func write(to buffer: VulkanBuffer) throws -> [Int: ByteRange] {
        guard let mapped = buffer.mapped else { throw CalderaError("The device lends no host-visible memory.") }
        var ranges: [Int: ByteRange] = [:]
        var offset = 0
        for (id, values) in tables {
            values.withUnsafeBytes { bytes in
                if let base = bytes.baseAddress { (mapped + offset).copyMemory(from: base, byteCount: bytes.count) }
            }
            ranges[id] = ByteRange(start: buffer.address + UInt64(offset), count: 4 * values.count)
            offset += 4 * values.count
        }
        return ranges
    }
}
