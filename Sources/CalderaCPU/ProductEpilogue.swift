import COneDNN
import CalderaGraph

/// The operands of a product's epilogue, with the row bias folded into the bias.
///
/// oneDNN adds one vector per output channel for free, but has no fast code for one that differs from picture to
/// picture. So where there is a row bias, `prepare` sums both into one fp32 vector for each picture before the product
/// runs, and each picture is a product of its own.
struct ProductEpilogue {
    let fused: FusedEpilogue
    let residual: UnsafeRawPointer?
    /// How many pictures must be computed apart; 1 when all of them share their bias.
    let parts: Int
    private let bias: UnsafePointer<Float>?
    private let rowBias: UnsafeRawPointer?
    private let sums: HostMemory?
    private let channels: Int
    private let dtype: DType

    init(_ builder: StepBuilder, _ node: Node, _ epilogue: Epilogue, residual place: FusedEpilogue.Residual) throws {
        func input(_ index: Int?) -> Tensor? { index.map { node.inputs[$0] } }
        channels = node.output.shape.channels
        bias = try input(epilogue.biasIndex).map { try builder.weights.vector($0, label: node.label) }
        residual = try input(epilogue.residualIndex).map { try builder.address($0, label: node.label) }
        let row = input(epilogue.rowBiasIndex)
        rowBias = try row.map { try builder.address($0, label: node.label) }
        dtype = row?.dtype ?? .float32
        parts = row?.shape[0] ?? 1
        sums =
            row == nil
            ? nil
            : try HostMemory(parts * channels * 4, for: "the row biases of \(node.label)", counter: builder.counter)
        fused = FusedEpilogue(
            bias: epilogue.bias || epilogue.rowBias, activation: epilogue.activation,
            residual: epilogue.residual ? place : nil)
    }

    /// The fp32 vector that part `index` adds.
    func vector(_ index: Int) -> UnsafeRawPointer? {
        guard let sums else { return bias.map { UnsafeRawPointer($0) } }
        return UnsafeRawPointer(sums.base + index * channels * 4)
    }

    /// Sums the bias and the row biases; nothing where there is no row bias.
    func prepare() {
        guard let sums, let rowBias else { return }
        let values = sums.base.assumingMemoryBound(to: Float.self)
        convert(rowBias, dtype, to: sums.base, .float32, count: parts * channels)
        guard let bias else { return }
        for part in 0..<parts {
            let row = values + part * channels
            mapLanes(row, row, channels) { index, width, lanes in lanes + loadLanes(bias + index, width) }
        }
    }
}
