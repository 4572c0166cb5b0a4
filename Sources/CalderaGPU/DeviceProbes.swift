import CalderaGraph
import CalderaVulkan

/// What a Vulkan device can do at most, measured with kernels that do nothing else.
extension VulkanBackend {
    /// Multiply-adds in registers, counted as two operations each, for a second. `dtype` is fp32 or fp16.
    /// Throws `CalderaError` when the device has no clock.
    package func measureArithmetic(_ dtype: DType) throws -> Double {
        let name = "probe_fma.\(dtype.size == 2 ? "FP16" : "FP32")"
        let threads = min(256, device.info.maxWorkgroupInvocations)
        // Of each thread in each round: eight chains of four multiply-adds.
        let probe = try ArithmeticProbe(
            device, kernels, name, constants: [UInt32(threads)], operations: 64 * threads)
        return try probe.operationsPerSecond()
    }

    /// The same of the device's best cooperative matrices, fp16 summed in fp32; nil where the device, or the build, has
    /// none. Throws `CalderaError` when the device has no clock.
    package func measureCooperativeMatrices() throws -> Double? {
        guard KernelBinaries.contains("probe_cooperative.FP16") else { return nil }
        let lanes = device.info.subgroupSize
        let subgroups = max(1, min(128, device.info.maxWorkgroupInvocations) / lanes)
        return try device.info.cooperativeMatrices.map { matrix in
            let constants = [subgroups * lanes, matrix.rows, matrix.columns, matrix.depth].map { UInt32($0) }
            // Of each subgroup in each round: four products.
            let operations = subgroups * 4 * 2 * matrix.rows * matrix.columns * matrix.depth
            let probe = try ArithmeticProbe(
                device, kernels, "probe_cooperative.FP16", constants: constants, operations: operations,
                subgroupSize: lanes)
            return try probe.operationsPerSecond()
        }.max()
    }

    /// Bytes that copies inside of the device's memory read and write, for a second.
    package func measureCopies() throws -> Double {
        let size = device.info.kind == .software ? 64 << 20 : 512 << 20
        let source = try VulkanBuffer(device, size: size, kind: .device)
        let target = try VulkanBuffer(device, size: size, kind: .device)
        let timer = try DeviceTimer(device)
        let commands = try timer.recording { recorder in
            recorder.copy(from: source, to: target, size: size)
        }
        let seconds = try (0..<5).map { _ in try timer.seconds(commands) }
        return 2 * Double(size) / (seconds.dropFirst().min() ?? 0)
    }
}

private struct ArithmeticProbe {
    /// Of each workgroup in each round.
    private let operations: Int
    private let pipeline: ComputePipeline
    private let result: VulkanBuffer
    private let timer: DeviceTimer
    private let groups: Int
    private let folded: (x: Int, y: Int, z: Int)

    /// - Parameter constants: specialization constants by id, the threads of a workgroup first.
    init(
        _ device: VulkanDevice, _ kernels: KernelLibrary, _ name: String, constants: [UInt32], operations: Int,
        subgroupSize: Int? = nil
    ) throws {
        self.operations = operations
        let words = try kernels.words(name)
        pipeline = try device.pipeline(name, words: words, constants: constants, subgroupSize: subgroupSize)
        result = try VulkanBuffer(device, size: 256, kind: .device)
        timer = try DeviceTimer(device)
        // Enough for the largest GPU to be full for several waves; a software driver needs few.
        groups = device.info.kind == .software ? 64 : 8192
        folded = device.info.folded(groups)
    }

    /// The best of a few runs, each long enough for the clock.
    func operationsPerSecond() throws -> Double {
        var rounds = 64
        var seconds = try measure(rounds)
        while seconds < 0.02, rounds < 1 << 20 {
            rounds *= 4
            seconds = try measure(rounds)
        }
        let best = try (0..<3).map { _ in try measure(rounds) }.min() ?? seconds
        return Double(groups) * Double(operations) * Double(rounds) / min(best, seconds)
    }

    private func measure(_ rounds: Int) throws -> Double {
        let push = PushConstants([Operand(address: result.address, bytes: result.size)], [rounds, Float(0.5)])
        let commands = try timer.recording { recorder in
            recorder.dispatch(pipeline, constants: push.bytes, groups: folded)
        }
        return try timer.seconds(commands)
    }
}
