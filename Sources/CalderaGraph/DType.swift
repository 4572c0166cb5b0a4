/// The element types that graphs, files and kernels know.
public enum DType: String, Sendable, Hashable, CaseIterable, Codable {
    case float32
    case float16
    case bfloat16
    case int32

    /// Bytes of one element.
    public var size: Int {
        switch self {
        case .float32, .int32: 4
        case .float16, .bfloat16: 2
        }
    }
}

/// The arithmetic that a person asks for; accumulation and norm statistics are fp32 in each.
public enum Precision: String, Sendable, Hashable, CaseIterable {
    case fp16
    case fp32
    case bf16

    /// The element type of activations and packed weights under this precision.
    public var dtype: DType {
        switch self {
        case .fp16: .float16
        case .fp32: .float32
        case .bf16: .bfloat16
        }
    }
}
