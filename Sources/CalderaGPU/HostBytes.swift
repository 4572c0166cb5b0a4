import CalderaGraph

/// Between host tensors and the bytes that a device stores.
enum HostBytes {
    static func encode(_ tensor: HostTensor, as dtype: DType, name: String) throws -> [UInt8] {
        switch (tensor.values, dtype) {
        case (.int(let values), .int32): return values.withUnsafeBytes { Array($0) }
        case (_, .int32): throw CalderaError("The input \(name) needs integers.")
        case (_, .float32): return tensor.floats.withUnsafeBytes { Array($0) }
        case (_, .float16): return tensor.floats.map(\.halfBits).withUnsafeBytes { Array($0) }
        case (_, .bfloat16): throw CalderaError("The input \(name) is bf16, which Vulkan kernels do not store.")
        }
    }

    /// `bytes` fill the tensor's shape.
    static func decode(_ bytes: UnsafeRawBufferPointer, _ tensor: Tensor) -> HostTensor {
        switch tensor.dtype {
        case .int32: HostTensor(tensor.shape, Array(bytes.bindMemory(to: Int32.self)))
        case .float32: HostTensor(tensor.shape, Array(bytes.bindMemory(to: Float.self)))
        case .float16: HostTensor(tensor.shape, bytes.bindMemory(to: UInt16.self).map(Float.init(halfBits:)))
        case .bfloat16:
            HostTensor(tensor.shape, bytes.bindMemory(to: UInt16.self).map { Float(bitPattern: UInt32($0) << 16) })
        }
    }
}
