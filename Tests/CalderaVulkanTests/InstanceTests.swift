import CalderaVulkan
import Testing

struct InstanceTests {
    @Test func listsDevicesWithoutMessages() throws {
        let instance = try VulkanInstance(validation: true)
        let devices = try instance.physicalDevices()
        #expect(devices.map(\.index) == Array(0..<devices.count))
        #expect(!devices.isEmpty)
        for device in devices {
            #expect(!device.info.name.isEmpty)
            #expect(device.info.cacheIdentity.count == 28)
        }
        #expect(instance.messages == [])
    }

    @Test func usableDeviceHasWhatKernelsNeed() throws {
        let instance = try VulkanInstance()
        let info = try #require(try instance.physicalDevices().first { $0.info.unusableReason == nil }).info
        #expect(info.float16Arithmetic && info.float16Storage)
        #expect(info.apiVersion.hasPrefix("1."))
        #expect(info.memory > 0)
        #expect(info.largestAllocation >= 1 << 30, "Vulkan 1.1 guarantees allocations of 1 GiB")
        #expect(info.sharedMemory >= 16_384 && info.maxWorkgroupInvocations >= 128)
        #expect(info.subgroupSize > 0 && info.subgroupSize & (info.subgroupSize - 1) == 0)
    }

    /// libc stands for a library that is there and is no loader.
    @Test(arguments: ["libnosuchvulkan.so.1", "libc.so.6"])
    func saysThatThereIsNoLoader(_ library: String) {
        let message = errorMessage { _ = try VulkanInstance(loader: library) }
        #expect(
            message == "No Vulkan loader (\(library)) was found: install libvulkan1 and a driver, or use --device cpu.")
    }

    @Test func validationHearsMistakes() throws {
        let instance = try VulkanInstance(validation: true)
        try readTooEarly(instance)
        #expect(instance.messages.contains { $0.contains("SYNC-HAZARD") })
    }

    /// Two copies, the second reading what the first writes, with no barrier between: only synchronization validation
    /// can tell.
    private func readTooEarly(_ instance: VulkanInstance) throws {
        let physical = try #require(try instance.physicalDevices().first { $0.info.unusableReason == nil })
        let device = try VulkanDevice(physical)
        let buffers = try (0..<3).map { _ in try VulkanBuffer(device, size: 64, kind: .device) }
        _ = try CommandBuffer(device) { recorder in
            recorder.copy(from: buffers[0], to: buffers[1], size: 64)
            recorder.copy(from: buffers[1], to: buffers[2], size: 64)
        }
    }
}
