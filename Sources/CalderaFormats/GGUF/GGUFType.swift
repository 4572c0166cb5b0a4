import CalderaGraph

/// The element types of GGUF tensors that are read; the raw values are those of ggml's `ggml_type`.
enum GGUFType: UInt32, Sendable {
    case f32 = 0
    case f16 = 1
    case q4x0 = 2
    case q4x1 = 3
    case q5x0 = 6
    case q5x1 = 7
    case q8x0 = 8
    case q4K = 12
    case q5K = 13
    case q6K = 14
    case bf16 = 30

    /// The names of ggml's types, by their numbers, for messages about those that are not read.
    private static let names: [UInt32: String] = [
        9: "Q8_1", 10: "Q2_K", 11: "Q3_K", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S",
        20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS", 24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64",
        29: "IQ1_M", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4",
    ]

    static func name(_ raw: UInt32) -> String { names[raw] ?? "number \(raw)" }

    /// Elements that are stored together.
    var blockCount: Int {
        switch self {
        case .f32, .f16, .bf16: 1
        case .q4x0, .q4x1, .q5x0, .q5x1, .q8x0: 32
        case .q4K, .q5K, .q6K: 256
        }
    }

    /// Bytes of a block.
    var blockSize: Int {
        switch self {
        case .f32: 4
        case .f16, .bf16: 2
        case .q4x0: 18
        case .q4x1: 20
        case .q5x0: 22
        case .q5x1: 24
        case .q8x0: 34
        case .q4K: 144
        case .q5K: 176
        case .q6K: 210
        }
    }

    /// What tensors of this type are lent as: as they are, or unpacked to fp32, which holds every such number exactly
    /// enough (ggml computes them in fp32 itself).
    var dtype: DType {
        switch self {
        case .f16: .float16
        case .bf16: .bfloat16
        default: .float32
        }
    }
}
