import CVulkan
import CalderaGraph

/// Points in time that a command buffer notes on the device as it runs.
package final class Timestamps {
    package let count: Int
    let handle: VkQueryPool
    private let device: VulkanDevice

    /// Throws `CalderaError` when `count` is not positive or the device's queue has no clock.
    package init(_ device: VulkanDevice, count: Int) throws {
        guard device.info.timestampBits > 0 else {
            throw CalderaError("\(device.info.name) has no timestamps on its compute queue.")
        }
        guard count > 0, let queries = UInt32(exactly: count) else {
            throw CalderaError("There cannot be \(count) timestamps.")
        }
        var info = VkQueryPoolCreateInfo()
        info.sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO
        info.queryType = VK_QUERY_TYPE_TIMESTAMP
        info.queryCount = queries
        var pool: VkQueryPool?
        try check(device.functions.vkCreateQueryPool(device.handle, &info, nil, &pool), "creating timestamps")
        guard let pool else { throw CalderaError("The driver gave no timestamps.") }
        handle = pool
        self.count = count
        self.device = device
    }

    deinit {
        _ = device.functions.vkDeviceWaitIdle(device.handle)
        device.functions.vkDestroyQueryPool(device.handle, handle, nil)
    }

    /// Nanoseconds from timestamp 0 to each. Throws `CalderaError` unless a finished submission has written them all.
    package func nanoseconds() throws -> [Double] {
        var ticks = [UInt64](repeating: 0, count: count)
        let result = ticks.withUnsafeMutableBytes { bytes in
            device.functions.vkGetQueryPoolResults(
                device.handle, handle, 0, UInt32(count), bytes.count, bytes.baseAddress, 8,
                VK_QUERY_RESULT_64_BIT.rawValue)
        }
        guard result != VK_NOT_READY else { throw CalderaError("No finished work has written these timestamps.") }
        try check(result, "reading timestamps")
        let bits = device.info.timestampBits
        let mask = bits >= 64 ? UInt64.max : (1 << UInt64(bits)) - 1
        // The counter wraps round within its valid bits, so differences are taken modulo their range.
        return ticks.map { Double(($0 &- ticks[0]) & mask) * device.info.timestampPeriod }
    }
}
