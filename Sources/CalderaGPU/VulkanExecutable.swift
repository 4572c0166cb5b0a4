import CalderaGraph
import CalderaVulkan

/// A plan in device memory, each stage recorded once and replayed by one submission.
final class VulkanExecutable: Executable {
    let prompt: Recording
    let step: Recording
    private let device: VulkanDevice
    private let plan: Plan
    private let deviceMemory: ExecutableMemory
    private let timeline: Timeline

    init(
        _ device: VulkanDevice, _ plan: Plan, _ memory: ExecutableMemory, prompt: Recording, step: Recording
    ) throws {
        self.device = device
        self.plan = plan
        deviceMemory = memory
        self.prompt = prompt
        self.step = step
        timeline = try Timeline(device)
    }

    var memory: MemoryUse { deviceMemory.use }

    func run(_ stage: Stage) throws {
        let recording = stage == .step ? step : prompt
        if recording.steps.isEmpty { return }
        do {
            try timeline.run(recording.commands)
        } catch let error as CalderaError {
            let layers = "from \(recording.steps.first?.label ?? "") to \(recording.steps.last?.label ?? "")"
            throw CalderaError("Running the \(stage) stage (\(layers)) failed: \(error.message)", kind: error.kind)
        }
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

    func read(_ name: String) throws -> HostTensor {
        let port = try plan.source(name).tensor
        let bytes = port.shape.count * port.dtype.size
        if bytes == 0 { return try VulkanExecutable.tensor(port, at: nil) }
        let place = try deviceMemory.place(port)
        if let mapped = place.buffer.mapped { return try VulkanExecutable.tensor(port, at: mapped + place.offset) }
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
        return try VulkanExecutable.tensor(port, at: mapped)
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
