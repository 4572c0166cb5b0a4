/// A kernel's arguments in the layout of its push constant block (std430): addresses first, then 4-byte numbers.
struct PushConstants {
    private(set) var bytes: [UInt8] = []

    mutating func address(_ value: UInt64) { append(value) }
    mutating func uint(_ value: Int) { append(UInt32(value)) }
    mutating func int(_ value: Int) { append(Int32(value)) }
    mutating func float(_ value: Float) { append(value) }

    private mutating func append<Value: BitwiseCopyable>(_ value: Value) {
        precondition(bytes.count % MemoryLayout<Value>.size == 0, "addresses stand before numbers")
        withUnsafeBytes(of: value) { bytes += $0 }
    }
}

/// One dispatch, ready to be recorded.
struct KernelCall {
    /// The shader file's name and its storage type: "gemm.FP16".
    let shader: String
    /// Specialisation constants, ids 0, 1, ...
    let constants: [UInt32]
    let push: PushConstants
    /// Workgroups, in one dimension; the recorder folds what is longer than the device allows.
    let groups: Int
    let reads: [ByteRange]
    let writes: [ByteRange]
    /// The tile and the epilogue, for people.
    let detail: String
}
