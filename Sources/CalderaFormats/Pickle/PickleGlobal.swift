/// The names that a pickle of tensors may refer to. Nothing is ever imported or called: each name stands for a case of
/// this type, and whatever is not in the table is an error.
enum PickleGlobal: Sendable, Equatable {
    case orderedDict
    case rebuildTensor
    /// For types that have no storage class of their own; names the type as a seventh argument.
    case rebuildTensorOfType
    case rebuildParameter
    case size
    case storage(TorchType)
    case untypedStorage
    case type(TorchType)
    /// Old textual-inversion embeddings keep their vectors in one.
    case parameterDict
    case inert(Inert)

    /// Names that stand beside the weights in training checkpoints (PyTorch Lightning's callbacks and their numpy
    /// scores, a module's sets). What they would make is not made: a value that holds nothing takes its place, and its
    /// arguments are dropped. Each is listed because files of well-known models have it (Stable Diffusion 1.5 among
    /// them), and because even in Python it does no more than build a plain value.
    enum Inert: Sendable, Equatable {
        case codecsEncode
        case device
        case modelCheckpoint
        case numpyDtype
        case numpyScalar
        case set

        /// Whether a pickle may ask to make such a value. Lightning's class is only the key of a dictionary.
        var isMade: Bool { self != .modelCheckpoint }
        /// Whether a pickle may set the state of such a value.
        var hasState: Bool { self == .numpyDtype }
    }

    /// nil for a name that is not allowed.
    init?(module: String, name: String) {
        if module == "torch" {
            guard let global = Self.torch(name) else { return nil }
            self = global
        } else {
            guard let global = Self.others["\(module).\(name)"] else { return nil }
            self = global
        }
    }

    private static func torch(_ name: String) -> PickleGlobal? {
        if name == "Size" { return .size }
        if name == "device" { return .inert(.device) }
        if let type = TorchType.ofStorageClass(name) { return .storage(type) }
        return TorchType.named(name).map { .type($0) }
    }

    private static let others: [String: PickleGlobal] = [
        "collections.OrderedDict": .orderedDict,
        "torch._utils._rebuild_tensor_v2": .rebuildTensor,
        "torch._utils._rebuild_tensor_v3": .rebuildTensorOfType,
        "torch._utils._rebuild_parameter": .rebuildParameter,
        "torch.storage.UntypedStorage": .untypedStorage,
        "torch.nn.modules.container.ParameterDict": .parameterDict,
        "_codecs.encode": .inert(.codecsEncode),
        "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint": .inert(.modelCheckpoint),
        "numpy.dtype": .inert(.numpyDtype),
        "numpy.core.multiarray.scalar": .inert(.numpyScalar),
        "numpy._core.multiarray.scalar": .inert(.numpyScalar),
        "builtins.set": .inert(.set),
        // What protocol 2 calls `builtins`.
        "__builtin__.set": .inert(.set),
    ]
}

/// An element type of PyTorch, by the name that safetensors gives it.
package struct TorchType: Sendable, Hashable {
    /// As safetensors spells it: F32, F16, BF16, I32, I64, F8_E4M3, ...
    package let storedType: String
    /// Bytes of one element.
    package let size: Int

    init(_ storedType: String, _ size: Int) {
        self.storedType = storedType
        self.size = size
    }

    /// The type of `torch.FloatStorage` and its like.
    static func ofStorageClass(_ name: String) -> TorchType? { storageClasses[name] }

    /// The type `torch.float32` and its like.
    static func named(_ name: String) -> TorchType? { types[name] }

    private static let storageClasses: [String: TorchType] = [
        "FloatStorage": TorchType("F32", 4), "HalfStorage": TorchType("F16", 2),
        "BFloat16Storage": TorchType("BF16", 2), "DoubleStorage": TorchType("F64", 8),
        "LongStorage": TorchType("I64", 8), "IntStorage": TorchType("I32", 4), "ShortStorage": TorchType("I16", 2),
        "CharStorage": TorchType("I8", 1), "ByteStorage": TorchType("U8", 1), "BoolStorage": TorchType("BOOL", 1),
        "ComplexFloatStorage": TorchType("C64", 8), "ComplexDoubleStorage": TorchType("C128", 16),
    ]

    private static let types: [String: TorchType] = [
        "float32": TorchType("F32", 4), "float16": TorchType("F16", 2), "bfloat16": TorchType("BF16", 2),
        "float64": TorchType("F64", 8), "int64": TorchType("I64", 8), "int32": TorchType("I32", 4),
        "int16": TorchType("I16", 2), "int8": TorchType("I8", 1), "uint8": TorchType("U8", 1),
        "uint16": TorchType("U16", 2), "uint32": TorchType("U32", 4), "uint64": TorchType("U64", 8),
        "bool": TorchType("BOOL", 1), "complex64": TorchType("C64", 8), "complex128": TorchType("C128", 16),
        "float8_e4m3fn": TorchType("F8_E4M3", 1), "float8_e5m2": TorchType("F8_E5M2", 1),
        "float8_e8m0fnu": TorchType("F8_E8M0", 1),
    ]
}
