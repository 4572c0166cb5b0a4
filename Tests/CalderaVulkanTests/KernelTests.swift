import CalderaVulkan
import Testing

/// Records single dispatches of the test kernel: words[i] = words[i] * factor + offset.
struct VulkanDeviceKernel {
    let device: VulkanDevice
    let pipeline: ComputePipeline

    init(_ device: VulkanDevice, factor: UInt32 = 1) throws {
        self.device = device
        pipeline = try device.pipeline("scale", words: ScaleKernel.words, constants: [factor])
    }

    func run(on address: UInt64, count: Int, offset: UInt32) throws -> CommandBuffer {
        try CommandBuffer(device) { recorder in
            record(&recorder, address, count, offset)
            recorder.hostBarrier()
        }
    }

    func record(_ recorder: inout CommandRecorder, _ address: UInt64, _ count: Int, _ offset: UInt32) {
        let constants = ScaleKernel.constants(address: address, count: UInt32(count), offset: offset)
        recorder.dispatch(pipeline, constants: constants, groups: ((count + 63) / 64, 1, 1))
    }
}

struct KernelTests {
    @Test func specializedKernelRunsWithinItsCount() throws {
        try withValidatedDevice { device in
            let buffer = try VulkanBuffer(device, size: 4 * 200, kind: .readback)
            try buffer.write((0..<200).map(UInt32.init))
            let commands = try VulkanDeviceKernel(device, factor: 3).run(on: buffer.address, count: 130, offset: 5)
            try Timeline(device).run(commands)
            let expected = (0..<UInt32(200)).map { word in word < 130 ? word * 3 + 5 : word }
            #expect(try buffer.words() == expected)
        }
    }

    @Test func pipelinesDifferByConstants() throws {
        try withValidatedDevice { device in
            let buffer = try VulkanBuffer(device, size: 256, kind: .readback)
            try buffer.write([UInt32](repeating: 1, count: 64))
            let twice = try VulkanDeviceKernel(device, factor: 2)
            let fivefold = try VulkanDeviceKernel(device, factor: 5)
            let again = try device.pipeline(
                "scale",
                words: {
                    Issue.record("compiled twice"); return []
                }(), constants: [2])
            let commands = try CommandBuffer(device) { recorder in
                twice.record(&recorder, buffer.address, 64, 1)
                recorder.barrier()
                fivefold.record(&recorder, buffer.address, 64, 0)
                recorder.barrier()
                recorder.dispatch(
                    again, constants: ScaleKernel.constants(address: buffer.address, count: 64, offset: 0),
                    groups: (1, 1, 1))
                recorder.hostBarrier()
            }
            try Timeline(device).run(commands)
            #expect(try buffer.words() == [UInt32](repeating: 30, count: 64))
        }
    }

    @Test func replaysInOrderWithoutWaiting() throws {
        try withValidatedDevice { device in
            let buffer = try VulkanBuffer(device, size: 4 * 4096, kind: .readback)
            try buffer.write([UInt32](repeating: 1, count: 4096))
            let kernel = try VulkanDeviceKernel(device, factor: 3)
            let commands = try kernel.run(on: buffer.address, count: 4096, offset: 1)
            let timeline = try Timeline(device)
            // Each replay reads what the one before wrote: any overlap or loss changes the result.
            for _ in 0..<20 { try timeline.submit(commands) }
            try timeline.wait()
            let expected = (0..<20).reduce(UInt32(1)) { value, _ in value &* 3 &+ 1 }
            #expect(try buffer.words() == [UInt32](repeating: expected, count: 4096))
        }
    }

    @Test func objectsMayGoWhileWorkRuns() throws {
        try withValidatedDevice { device in
            let timeline = try Timeline(device)
            for _ in 0..<4 {
                let buffer = try VulkanBuffer(device, size: 4 << 20, kind: .device)
                let commands = try VulkanDeviceKernel(device).run(on: buffer.address, count: 1 << 20, offset: 1)
                try timeline.submit(commands)
            }
            try timeline.wait()
            #expect(device.allocatedBytes == 0)
        }
    }

    @Test func refusesWhatTheDeviceCannotDispatch() throws {
        try withValidatedDevice { device in
            let pipeline = try device.pipeline("scale", words: ScaleKernel.words, constants: [1])
            let limit = device.info.maxWorkgroupCount.0
            for groups in [(limit + 1, 1, 1), (1, -1, 1)] {
                let message = errorMessage {
                    _ = try CommandBuffer(device) { $0.dispatch(pipeline, constants: [], groups: groups) }
                }
                #expect(message.contains("workgroups"))
            }
            for count in [132, 6] {
                let message = errorMessage {
                    _ = try CommandBuffer(device) { recorder in
                        recorder.dispatch(pipeline, constants: [UInt8](repeating: 0, count: count), groups: (1, 1, 1))
                    }
                }
                #expect(message.contains("\(count) bytes of push constants"))
            }
        }
    }

    @Test func timestampsRunForward() throws {
        try withValidatedDevice { device in
            let buffer = try VulkanBuffer(device, size: 4 << 20, kind: .device)
            let kernel = try VulkanDeviceKernel(device)
            let timestamps = try Timestamps(device, count: 3)
            let commands = try CommandBuffer(device) { recorder in
                recorder.reset(timestamps)
                recorder.write(timestamps, at: 0)
                kernel.record(&recorder, buffer.address, 1 << 20, 1)
                recorder.write(timestamps, at: 1)
                recorder.barrier()
                kernel.record(&recorder, buffer.address, 1 << 20, 1)
                recorder.write(timestamps, at: 2)
            }
            try Timeline(device).run(commands)
            let times = try timestamps.nanoseconds()
            #expect(times[0] == 0)
            #expect(times[1] > 0 && times[2] > times[1])
            #expect(times[2] < 60e9)
            #expect(errorMessage { _ = try Timestamps(device, count: 0) }.contains("0 timestamps"))
            let beyond = errorMessage { _ = try CommandBuffer(device) { $0.write(timestamps, at: 3) } }
            #expect(beyond.contains("no timestamp 3"))
        }
    }
}
