import CalderaVulkan

/// Times single recordings by the device's clock.
final class DeviceTimer {
    private let device: VulkanDevice
    private let timestamps: Timestamps
    private let timeline: Timeline

    init(_ device: VulkanDevice) throws {
        self.device = device
        timestamps = try Timestamps(device, count: 2)
        timeline = try Timeline(device)
    }

    func recording(_ body: (CommandRecorder) throws -> Void) throws -> CommandBuffer {
        try CommandBuffer(device) { recorder in
            recorder.reset(timestamps)
            recorder.barrier()
            recorder.write(timestamps, at: 0)
            try body(recorder)
            recorder.barrier()
            recorder.write(timestamps, at: 1)
        }
    }

    func seconds(_ commands: CommandBuffer) throws -> Double {
        try timeline.run(commands)
        return try timestamps.nanoseconds()[1] / 1e9
    }
}
