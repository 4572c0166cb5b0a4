import CalderaGraph
import CalderaVulkan

/// What an executable costs the host.
package protocol HostTimes {
    /// Seconds that recording both stages took, without those of the driver's compiler.
    var recordingSeconds: Double { get }
    /// Seconds that the host was busy with the last run, not counted what it waited for the device.
    var hostSeconds: Double { get }
}

/// A plan in device memory, each stage recorded once and replayed: by one submission where all weights stay there, by
/// one for each segment of streamed weights otherwise.
final class VulkanExecutable: Executable, HostTimes {
    let prompt: Recording
    let step: Recording
    let recordingSeconds: Double
    private(set) var hostSeconds = 0.0
    private let device: VulkanDevice
    private let plan: Plan
    private let deviceMemory: ExecutableMemory
    private let states: StateSnapshot
    private let recorder: PlanRecorder
    private let timeline: Timeline
    /// Made at the first profile of a stage.
    private var timed: [Stage: TimedRecording] = [:]

    init(
        _ device: VulkanDevice, _ plan: Plan, _ memory: ExecutableMemory, _ states: StateSnapshot,
        _ recorder: PlanRecorder
    ) throws {
        self.device = device
        self.plan = plan
        deviceMemory = memory
        self.states = states
        self.recorder = recorder
        let (start, compiled) = (ContinuousClock.now, device.pipelineSeconds)
        prompt = try recorder.record(.prompt)
        step = try recorder.record(.step)
        recordingSeconds = (ContinuousClock.now - start) / .seconds(1) - (device.pipelineSeconds - compiled)
        timeline = try Timeline(device)
    }

    var memory: MemoryUse { deviceMemory.use }

    func run(_ stage: Stage) throws {
        let recording = recording(stage)
        if !recording.steps.isEmpty { try replay(recording, stage) }
    }

    func profile(_ stage: Stage) throws -> [NodeTiming] {
        guard !plan.nodes(stage).isEmpty else { return [] }
        let recording = try timed[stage] ?? recorder.recordTimed(stage)
        timed[stage] = recording
        try replay(recording.recording, stage)
        return try recording.clock.timings()
    }

    private func replay(_ recording: Recording, _ stage: Stage) throws {
        do {
            let start = ContinuousClock.now
            for (index, part) in recording.parts.enumerated() {
                let next = index + 1 < recording.parts.count ? recording.parts[index + 1].segment : nil
                try submit(part.commands, of: part.segment, next: next)
                if stage == .step { states.didSave() }
            }
            hostSeconds = (ContinuousClock.now - start) / .seconds(1)
            try timeline.wait()
        } catch let error as CalderaError {
            let layers = "from \(recording.steps.first?.label ?? "") to \(recording.steps.last?.label ?? "")"
            throw CalderaError("Running the \(stage) stage (\(layers)) failed: \(error.message)", kind: error.kind)
        }
    }

    private func recording(_ stage: Stage) -> Recording { stage == .step ? step : prompt }

    private func submit(_ commands: CommandBuffer, of segment: StreamSegment, next: StreamSegment?) throws {
        let weights = deviceMemory.weights
        try weights.fill(segment, next: next, timeline)
        try timeline.submit(commands)
        weights.didSubmit(segment, timeline)
    }

    func replaceWeights(_ names: Set<String>, from source: any WeightSource) throws {
        try plan.checkReplacement(names, from: source)
        try deviceMemory.weights.replace(names, from: source)
    }

    func statesAreFinite() throws -> Bool { try states.areFinite(timeline) }

    func firstNonFinite(_ stage: Stage) throws -> NonFiniteValue? {
        if stage == .step { try states.restore(timeline) }
        let found = try NonFiniteSearch(plan, self).first(stage)
        if stage == .step { try states.restore(timeline) }
        return found
    }

    func write(_ name: String, _ tensor: HostTensor) throws {
        let port = try plan.port(name).tensor
        guard port.shape == tensor.shape else {
            throw CalderaError("The input \(name) is \(port.shape); it was given \(tensor.shape).")
        }
        let bytes = port.shape.count * port.dtype.size
        if bytes == 0 { return }
        let place = try deviceMemory.place(port)
        if let mapped = place.buffer.mapped {
            return try VulkanExecutable.store(tensor, name, port.dtype, to: mapped + place.offset)
        }
        let stage = try VulkanBuffer(device, size: bytes, kind: .upload)
        guard let mapped = stage.mapped else {
            throw CalderaError("\(device.info.name) has no memory through which the host could send \(name).")
        }
        try VulkanExecutable.store(tensor, name, port.dtype, to: mapped)
        try timeline.run(
            CommandBuffer(device) {
                $0.barrier()
                $0.copy(from: stage, at: 0, to: place.buffer, at: place.offset, size: bytes)
            })
    }

    /// Fills every output with values that are not numbers, so that what a kernel leaves out shows, whatever an earlier
    /// run has left in the same memory.
    func spoilOutputs() throws {
        let places = try plan.outputs.map { try (place: deviceMemory.place($0.tensor), tensor: $0.tensor) }
        try timeline.run(
            CommandBuffer(device) { recorder in
                recorder.barrier()
                for (place, tensor) in places {
                    // In whole words: values start at multiples of 256 bytes.
                    let bytes = (tensor.shape.count * tensor.dtype.size + 3) / 4 * 4
                    if bytes > 0 { recorder.fill(place.buffer, at: place.offset, size: bytes, word: .max) }
                }
                recorder.hostBarrier()
            })
    }

    func read(_ name: String) throws -> HostTensor {
        let port = try plan.source(name).tensor
        if port.shape.count == 0 { return try VulkanExecutable.tensor(port, at: nil) }
        return try withBytes(of: port, name) { try VulkanExecutable.tensor(port, at: $0) }
    }

    /// Lends a value's bytes to the host, copied where it does not see them. The device is idle.
    private func withBytes<Result>(
        of tensor: Tensor, _ name: String, _ body: (UnsafeMutableRawPointer) throws -> Result
    ) throws -> Result {
        let bytes = tensor.shape.count * tensor.dtype.size
        let place = try deviceMemory.place(tensor)
        if let mapped = place.buffer.mapped { return try body(mapped + place.offset) }
        let stage = try VulkanBuffer(device, size: bytes, kind: .readback)
        try timeline.run(
            CommandBuffer(device) {
                $0.barrier()
                $0.copy(from: place.buffer, at: place.offset, to: stage, size: bytes)
                $0.hostBarrier()
            })
        guard let mapped = stage.mapped else {
            throw CalderaError("\(device.info.name) has no memory through which the host could fetch \(name).")
        }
        return try body(mapped)
    }

    // MARK: Conversion

    private static func store(
        _ tensor: HostTensor, _ name: String, _ dtype: DType, to target: UnsafeMutableRawPointer
    ) throws {
        switch (dtype, tensor.values) {
        case (.int32, .int(let ints)):
            ints.withUnsafeBytes { if let base = $0.baseAddress { target.copyMemory(from: base, byteCount: $0.count) } }
        case (.int32, .float):
            throw CalderaError("The input \(name) takes integers; it was given floating-point numbers.")
        default:
            let floats = tensor.floats
            floats.withUnsafeBytes { bytes in
                guard let base = bytes.baseAddress else { return }
                ElementConversion.convert(base, .float32, to: target, dtype, count: floats.count)
            }
        }
    }

    private static func tensor(_ port: Tensor, at source: UnsafeMutableRawPointer?) throws -> HostTensor {
        let count = port.shape.count
        if port.dtype == .int32 {
            let ints = [Int32](unsafeUninitializedCapacity: count) { buffer, filled in
                if let source {
                    UnsafeMutableRawBufferPointer(buffer).copyMemory(from: .init(start: source, count: 4 * count))
                }
                filled = count
            }
            return HostTensor(port.shape, ints)
        }
        let floats = [Float](unsafeUninitializedCapacity: count) { buffer, filled in
            if let source, let base = buffer.baseAddress {
                ElementConversion.convert(source, port.dtype, to: base, .float32, count: count)
            }
            filled = count
        }
        return HostTensor(port.shape, floats)
    }
}

extension VulkanExecutable: NodeReplay {
    func run(_ index: Int, of stage: Stage) throws {
        guard let segment = recording(stage).parts.first(where: { $0.segment.nodes.contains(index) })?.segment else {
            return
        }
        let commands = try recorder.record(segment, node: index)
        if index == segment.nodes.lowerBound {
            try submit(commands, of: segment, next: nil)
        } else {
            try timeline.submit(commands)
        }
        try timeline.wait()
    }

    func isFinite(_ tensor: Tensor) throws -> Bool {
        try withBytes(of: tensor, "a layer's result") {
            FiniteCheck.holds($0, tensor.dtype, count: tensor.shape.count)
        }
    }

    func source(ofWeight name: String) -> any WeightSource { deviceMemory.weights.source(of: name) }
}
