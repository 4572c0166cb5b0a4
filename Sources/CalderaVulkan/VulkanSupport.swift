import CVulkan
import CalderaGraph

/// Throws `CalderaError` unless a Vulkan call succeeded; `what` says what was being done.
func check(_ result: VkResult, _ what: @autoclosure () -> String) throws {
    if result == VK_SUCCESS { return }
    throw CalderaError("Vulkan failed with \(name(of: result)) while \(what()).")
}

private func name(of result: VkResult) -> String {
    switch result {
    case VK_ERROR_OUT_OF_HOST_MEMORY: "out of host memory"
    case VK_ERROR_OUT_OF_DEVICE_MEMORY: "out of device memory"
    case VK_ERROR_INITIALIZATION_FAILED: "an initialisation failure"
    case VK_ERROR_DEVICE_LOST: "a lost device (the driver reset it; a step may have run too long)"
    case VK_ERROR_LAYER_NOT_PRESENT: "a missing layer"
    case VK_ERROR_EXTENSION_NOT_PRESENT: "a missing extension"
    case VK_ERROR_FEATURE_NOT_PRESENT: "a missing feature"
    case VK_ERROR_INCOMPATIBLE_DRIVER: "an incompatible driver"
    case VK_TIMEOUT: "a timeout"
    default: "VkResult \(result.rawValue)"
    }
}

/// C structures whose pointers must stay valid until a Vulkan call has returned: freed together with the arena.
final class PointerArena {
    private var frees: [() -> Void] = []

    deinit { for free in frees { free() } }

    func value<Value>(_ value: Value) -> UnsafePointer<Value> {
        let pointer = UnsafeMutablePointer<Value>.allocate(capacity: 1)
        pointer.initialize(to: value)
        frees.append { pointer.deallocate() }
        return UnsafePointer(pointer)
    }

    /// A structure that Vulkan fills in.
    func result<Value>(_ value: Value) -> UnsafeMutablePointer<Value> {
        UnsafeMutablePointer(mutating: self.value(value))
    }

    func array<Value>(_ values: [Value]) -> UnsafePointer<Value> {
        let pointer = UnsafeMutablePointer<Value>.allocate(capacity: max(values.count, 1))
        pointer.initialize(from: values, count: values.count)
        frees.append { pointer.deallocate() }
        return UnsafePointer(pointer)
    }

    func string(_ text: String) -> UnsafePointer<CChar> { array(Array(text.utf8CString)) }

    func strings(_ texts: [String]) -> UnsafePointer<UnsafePointer<CChar>?> { array(texts.map { string($0) }) }
}

/// The text in a fixed C array, which Swift sees as a tuple.
func stringFromTuple<Tuple>(_ tuple: Tuple) -> String {
    withUnsafeBytes(of: tuple) { bytes in
        String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }
}
