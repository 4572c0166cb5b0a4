import COneDNN
import CalderaGraph

/// oneDNN's engine and stream, and the primitives that have been made for it so far.
final class OneDNNEngine {
    let handle: OpaquePointer
    /// Primitives by what they compute, so that equal layers share their code.
    private var convolutions: [ConvolutionKey: Primitive] = [:]
    private var matmuls: [MatmulKey: Primitive] = [:]

    init() throws {
        var handle: OpaquePointer?
        try OneDNNEngine.check(cdnn_engine_create(&handle), "oneDNN's processor engine")
        guard let handle else { throw CalderaError("oneDNN made no processor engine.") }
        self.handle = handle
    }

    deinit { cdnn_engine_destroy(handle) }

    var hasNativeBFloat16: Bool { cdnn_has_native_bfloat16(handle) }

    /// The loaded library's version, such as "2.6.3".
    static var version: String {
        var parts: (Int32, Int32, Int32) = (0, 0, 0)
        cdnn_version(&parts.0, &parts.1, &parts.2)
        return "\(parts.0).\(parts.1).\(parts.2)"
    }

    /// Throws with oneDNN's own name for what went wrong.
    static func check(_ status: Int32, _ subject: @autoclosure () -> String) throws {
        if status == 0 { return }
        throw CalderaError(
            "\(subject()) failed in oneDNN \(version) with the status \(String(cString: cdnn_status_name(status))).")
    }

    func convolution(_ key: ConvolutionKey, label: String) throws -> Primitive {
        if let known = convolutions[key] { return known }
        var shape = key.shape
        var epilogue = key.epilogue.flat
        let primitive = try Primitive(engine: self, label: label) {
            cdnn_convolution_create(handle, &shape, &epilogue, $0)
        }
        convolutions[key] = primitive
        return primitive
    }

    func matmul(_ key: MatmulKey, label: String) throws -> Primitive {
        if let known = matmuls[key] { return known }
        var shape = key.shape
        var epilogue = key.epilogue.flat
        let primitive = try Primitive(engine: self, label: label) { cdnn_matmul_create(handle, &shape, &epilogue, $0) }
        matmuls[key] = primitive
        return primitive
    }
}

/// The part of an epilogue that oneDNN computes; row biases are summed into the bias beforehand.
struct FusedEpilogue: Hashable {
    var bias = false
    var activation: Activation?
    /// Whether the result is multiplied by an operand, before the residual is added.
    var hasFactor = false
    var residual: Residual?

    /// Where the residual lies: in memory of its own, or in the destination, which it was copied to beforehand.
    enum Residual {
        case operand
        case destination
    }

    fileprivate var flat: cdnn_epilogue {
        let function =
            switch activation {
            case nil: CDNN_NO_ACTIVATION
            case .silu: CDNN_SILU
            case .gelu: CDNN_GELU
            case .quickGELU: CDNN_QUICK_GELU
            case .relu: CDNN_RELU
            case .tanh: CDNN_TANH
            }
        return cdnn_epilogue(
            bias: bias, activation: function, factor: hasFactor, residual: residual == .operand,
            accumulate: residual == .destination)
    }
}

extension cdnn_operands {
    /// Of an epilogue without a factor.
    init(
        source: UnsafeRawPointer?, weights: UnsafeRawPointer?, bias: UnsafeRawPointer?, residual: UnsafeRawPointer?,
        destination: UnsafeMutableRawPointer?, scratchpad: UnsafeMutableRawPointer?
    ) {
        self.init(
            source: source, weights: weights, bias: bias, factor: nil, residual: residual, destination: destination,
            scratchpad: scratchpad)
    }
}

struct ConvolutionKey: Hashable {
    var batch: Int
    var height: Int
    var width: Int
    let inChannels: Int
    let outChannels: Int
    let kernelHeight: Int
    let kernelWidth: Int
    let stride: Int
    var padding: Padding
    let dtype: DType
    let epilogue: FusedEpilogue

    fileprivate var shape: cdnn_convolution {
        cdnn_convolution(
            batch: Int64(batch), height: Int64(height), width: Int64(width), in_channels: Int64(inChannels),
            out_channels: Int64(outChannels), kernel_height: Int64(kernelHeight), kernel_width: Int64(kernelWidth),
            stride: Int64(stride), pad_top: Int64(padding.top), pad_left: Int64(padding.left),
            pad_bottom: Int64(padding.bottom), pad_right: Int64(padding.right), type: dtype.flat)
    }
}

/// destination [rows, columns] = source [rows, depth] · weights [depth, columns]; strides count elements.
struct MatmulKey: Hashable {
    let rows: Int
    let columns: Int
    let depth: Int
    let sourceStride: Int
    let destinationStride: Int
    /// From one entry of the weights to the next along depth and columns; nil for packed weights.
    var weightsStrides: WeightsStrides?
    let dtype: DType
    let destinationType: DType
    var epilogue = FusedEpilogue()
    var isSingleThreaded = false

    struct WeightsStrides: Hashable {
        let depth: Int
        let column: Int

        /// As model files have them: [columns, depth].
        static func rowByRow(depth: Int) -> WeightsStrides { WeightsStrides(depth: 1, column: depth) }
    }

    fileprivate var shape: cdnn_matmul {
        cdnn_matmul(
            rows: Int64(rows), columns: Int64(columns), depth: Int64(depth), source_stride: Int64(sourceStride),
            destination_stride: Int64(destinationStride), weights_depth_stride: Int64(weightsStrides?.depth ?? 0),
            weights_column_stride: Int64(weightsStrides?.column ?? 0), type: dtype.flat,
            destination_type: destinationType.flat, single_threaded: isSingleThreaded)
    }
}

extension DType {
    /// For the two types that `CPUBackend` accepts for products.
    var flat: cdnn_type { self == .bfloat16 ? CDNN_BFLOAT16 : CDNN_FLOAT32 }
}

/// Compiled code for one shape.
final class Primitive {
    let handle: OpaquePointer
    let engine: OneDNNEngine

    init(engine: OneDNNEngine, label: String, _ create: (UnsafeMutablePointer<OpaquePointer?>) -> Int32) throws {
        var handle: OpaquePointer?
        try OneDNNEngine.check(create(&handle), "The layer \(label)")
        guard let handle else { throw CalderaError("oneDNN made no code for the layer \(label).") }
        self.handle = handle
        self.engine = engine
    }

    deinit { cdnn_primitive_destroy(handle) }

    /// oneDNN's name for the code, such as "brgconv:avx512_core_bf16".
    var implementation: String { String(cString: cdnn_implementation(handle)) }
    var scratchpadSize: Int { cdnn_scratchpad_size(handle) }
    var weightsSize: Int { cdnn_weights_size(handle) }

    func hasSameWeightsLayout(as other: Primitive) -> Bool { cdnn_same_weights_layout(handle, other.handle) }

    /// Packs dense weights of fp32 or bf16 at `source` into `weightsSize` bytes at `packed`.
    func pack(_ source: UnsafeRawPointer, _ dtype: DType, into packed: UnsafeMutableRawPointer, label: String) throws {
        try OneDNNEngine.check(
            cdnn_pack_weights(engine.handle, handle, source, dtype.flat, packed), "Packing the weight \(label)")
    }
}

/// A primitive bound to memory.
final class Execution {
    private let handle: OpaquePointer
    private let primitive: Primitive
    private let label: String
    /// The packed weight that it reads; nil where the weights are a computed value.
    let weight: PackedWeight?
    var operands: cdnn_operands

    init(_ primitive: Primitive, _ operands: cdnn_operands, weight: PackedWeight? = nil, label: String) throws {
        var handle: OpaquePointer?
        self.operands = operands
        self.weight = weight
        try withUnsafePointer(to: operands) { operands in
            try OneDNNEngine.check(
                cdnn_execution_create(primitive.engine.handle, primitive.handle, operands, &handle),
                "The layer \(label)")
        }
        guard let handle else { throw CalderaError("oneDNN could not bind the layer \(label) to its memory.") }
        self.handle = handle
        self.primitive = primitive
        self.label = label
    }

    deinit { cdnn_execution_destroy(handle) }

    /// Points the execution at `operands` after they were changed.
    func rebind() throws { try OneDNNEngine.check(cdnn_execution_bind(handle, &operands), "The layer \(label)") }

    /// Brings the weight where the primitive reads it, if it is not there. Overwrites the shared scratch memory.
    func load() throws { try weight?.load() }

    /// Loads the weight and runs.
    func run() throws {
        try load()
        try OneDNNEngine.check(cdnn_execution_run(handle), "The layer \(label)")
    }

    /// Runs it on other memory. Returns oneDNN's status, because members of a team cannot throw.
    func run(_ operands: cdnn_operands) -> Int32 {
        let status = withUnsafePointer(to: operands) { cdnn_execution_bind(handle, $0) }
        return status == 0 ? cdnn_execution_run(handle) : status
    }
}
