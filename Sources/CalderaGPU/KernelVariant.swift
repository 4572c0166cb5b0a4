import CalderaGraph
import CalderaVulkan

/// One of the ways in which the device could run a product, a convolution or an attention.
package enum KernelVariant: Sendable, Hashable, CustomStringConvertible {
    case matrix(MatrixTile)
    case attention(AttentionTile)
    /// For products of few rows; the tuner does not measure these.
    case rows(RowTile)

    /// Tells it from every other variant of the same node: what a file of choices calls it.
    package var description: String {
        switch self {
        case .matrix(let tile): "\(tile.core.rawValue) \(tile)"
        case .attention(let tile): "\(tile)"
        case .rows(let tile): "\(tile)"
        }
    }
}

/// How variants are chosen: one that is given for everything that it can run, else the tuner's, else one by shape.
struct KernelChoices {
    var pinned: KernelVariant?
    var tuned: TunedKernels?

    /// The tile for a product; `candidates` are those for its shape.
    func matrixTile(_ shape: TunedShape, _ work: MatrixWork, among candidates: () -> [MatrixTile]) -> MatrixTile? {
        if case .matrix(let tile) = pinned, tile.supports(work) { return tile }
        guard let name = tuned?[shape] else { return nil }
        return candidates().first { KernelVariant.matrix($0).description == name }
    }

    /// Whether products of few rows may have their own kernel: not where a matrix's is given.
    var allowsRows: Bool { pinned == nil || rowTile != nil }

    /// The one that is given.
    var rowTile: RowTile? {
        if case .rows(let tile) = pinned { return tile }
        return nil
    }

    func attentionTile(_ shape: TunedShape, among candidates: () -> [AttentionTile]) -> AttentionTile? {
        if case .attention(let tile) = pinned { return tile }
        guard let name = tuned?[shape] else { return nil }
        return candidates().first { KernelVariant.attention($0).description == name }
    }
}

/// What a choice of the tuner is for: an operation with its extents and element type, but without its epilogue, which
/// changes no order among variants worth a measurement of its own; only gated products, which not all variants can make,
/// are apart.
struct TunedShape: Hashable, CustomStringConvertible {
    let description: String

    /// Nil for operations that have one variant alone.
    init?(_ node: Node) {
        let dtype = node.output.dtype
        let source = node.inputs[0].shape
        let work = MatrixWork(node)
        let product = "gemm \(work.rows)x\(work.columns)x\(node.sourceChannels) \(dtype)"
        switch node.op {
        case .matmul:
            description = product + (work.isGated ? " gated" : "")
        case .convolution(let convolution, _):
            description = convolution.isProduct ? product : TunedShape.text(convolution, node)
        case .attention(let attention):
            let extents = [node.output.shape[0], source[1], node.inputs[1].shape[1], attention.heads]
            description =
                "attention \(TunedShape.text(extents))x\(attention.headSize) \(dtype)"
                + (attention.causal ? " causal" : "")
        default:
            return nil
        }
    }

    private static func text(_ convolution: Convolution, _ node: Node) -> String {
        let padding = convolution.padding
        let kernel = [
            convolution.kernelHeight, convolution.kernelWidth, convolution.stride, padding.top, padding.left,
        ]
        return "conv \(text(node.inputs[0].shape.extents)) to \(text(node.output.shape.extents)) \(node.output.dtype) "
            + text(kernel) + (convolution.enlarged.map { " enlarged \($0.height)x\($0.width)" } ?? "")
    }

    private static func text(_ extents: [Int]) -> String { extents.map(String.init).joined(separator: "x") }
}

extension Convolution {
    /// Whether it is a matrix product over pixels.
    var isProduct: Bool {
        kernelHeight == 1 && kernelWidth == 1 && stride == 1 && padding == Padding(0) && enlarged == nil
    }
}

extension Lowering {
    /// Every way in which the device could run a node, the one that is taken by shape first; empty where there is but
    /// one.
    func variants(of node: Node) -> [KernelVariant] {
        switch node.op {
        case .matmul, .convolution:
            let work = MatrixWork(node)
            if takesRows(work.rows), !work.isGated { return [] }
            let chosen = MatrixTile.choose(for: work, on: device)
            let others = MatrixTile.candidates(for: work, on: device).filter { $0 != chosen }
            return ([chosen] + others).map { .matrix($0) }
        case .attention(let attention):
            let keys = node.inputs[1].shape[1]
            let tiles = AttentionTile.candidates(headSize: attention.headSize, keys: keys, on: device)
            return tiles.map { .attention($0) }
        default:
            return []
        }
    }
}
