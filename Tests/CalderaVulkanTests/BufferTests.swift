import CalderaVulkan
import Testing

struct BufferTests {
    @Test func copiesThroughTheDevice() throws {
        try withValidatedDevice { device in
            let upload = try VulkanBuffer(device, size: 4096, kind: .upload)
            let local = try VulkanBuffer(device, size: 4096, kind: .device)
            let readback = try VulkanBuffer(device, size: 4096, kind: .readback)
            let words = (0..<1024).map { UInt32($0) &* 2_654_435_761 }
            try upload.write(words)
            let commands = try CommandBuffer(device) { recorder in
                recorder.copy(from: upload, to: local, size: 4096)
                recorder.barrier()
                recorder.copy(from: local, at: 2048, to: readback, at: 0, size: 2048)
                recorder.copy(from: local, at: 0, to: readback, at: 2048, size: 2048)
                recorder.hostBarrier()
            }
            try Timeline(device).run(commands)
            #expect(try readback.words() == Array(words[512...]) + Array(words[..<512]))
        }
    }

    @Test func fillsWholeWordsAndNothingBeside() throws {
        try withValidatedDevice { device in
            let buffer = try VulkanBuffer(device, size: 64, kind: .readback)
            try buffer.write([UInt32](repeating: 7, count: 16))
            let commands = try CommandBuffer(device) { recorder in
                recorder.fill(buffer, at: 8, size: 16, word: 0xdead_beef)
                recorder.hostBarrier()
            }
            try Timeline(device).run(commands)
            var expected = [UInt32](repeating: 7, count: 16)
            for index in 2..<6 { expected[index] = 0xdead_beef }
            #expect(try buffer.words() == expected)
        }
    }

    @Test func addressesAreDistinctAndAligned() throws {
        try withValidatedDevice { device in
            let buffers = try (1...8).map { try VulkanBuffer(device, size: $0 * 100, kind: .device) }
            #expect(Set(buffers.map(\.address)).count == buffers.count)
            #expect(buffers.allSatisfy { $0.address != 0 && $0.address.isMultiple(of: 16) })
        }
    }

    @Test func countsWhatIsAllocated() throws {
        try withValidatedDevice { device in
            let kept = try VulkanBuffer(device, size: 1 << 20, kind: .device)
            do { _ = try VulkanBuffer(device, size: 3 << 20, kind: .upload) }
            #expect(device.allocatedBytes == 1 << 20)
            #expect(device.peakAllocatedBytes == 4 << 20)
            withExtendedLifetime(kept) {}
        }
    }

    @Test func largerThanTheStorageBufferRange() throws {
        try withValidatedDevice { device in
            // lavapipe's maxStorageBufferRange is 128 MiB; addresses have no such limit.
            let size = 160 << 20
            let buffer = try VulkanBuffer(device, size: size, kind: .readback)
            try #require(buffer.mapped).storeBytes(of: UInt32(0), toByteOffset: size - 4, as: UInt32.self)
            let last = try VulkanDeviceKernel(device, factor: 7).run(
                on: buffer.address + UInt64(size - 4), count: 1, offset: 99)
            try Timeline(device).run(last)
            let word = try #require(buffer.mapped).load(fromByteOffset: size - 4, as: UInt32.self)
            #expect(word == 99)
        }
    }

    @Test(arguments: [-1, Int.min, 1 << 50, Int.max])
    func refusesImpossibleSizes(_ size: Int) throws {
        try withValidatedDevice { device in
            let message = errorMessage { _ = try VulkanBuffer(device, size: size, kind: .device) }
            #expect(message.contains("\(size) bytes"))
            #expect(device.allocatedBytes == 0)
        }
    }

    @Test func refusesCopiesBeyondTheEnd() throws {
        try withValidatedDevice { device in
            let small = try VulkanBuffer(device, size: 64, kind: .device)
            let large = try VulkanBuffer(device, size: 128, kind: .device)
            let ranges = [(0, 0, 65), (1, 0, 64), (-1, 0, 4), (0, 120, 9), (0, 0, -4), (64, Int.max, 1)]
            for (from, to, size) in ranges {
                let message = errorMessage {
                    _ = try CommandBuffer(device) { $0.copy(from: small, at: from, to: large, at: to, size: size) }
                }
                #expect(message.contains("does not fit"))
            }
            let ragged = errorMessage { _ = try CommandBuffer(device) { $0.fill(small, at: 2, size: 4, word: 0) } }
            #expect(ragged.contains("whole words"))
        }
    }
}
