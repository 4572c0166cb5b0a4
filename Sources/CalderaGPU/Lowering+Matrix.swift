import CalderaGraph

/// Matrix products and convolutions.
extension Lowering {
    /// The operands and extents that both kernels share (Shaders/include/matrix.glsl).
    private struct Product {
        let source: Operand
        let weight: Operand
        let result: Operand
        let bias: Operand?
        let rowBias: Operand?
        let residual: Operand?
        let rows: Int
        let columns: Int
        let inner: Int
        let rowsPerBias: Int
        /// Of a product: the second half of the source where it has one, and the terms that the first half gives to a sum.
        var halves: (second: Operand?, split: Int)?

        var operands: [Operand] {
            [source, weight, result, bias ?? .none, rowBias ?? .none, residual ?? .none]
        }
        var extras: [Operand] { [bias, rowBias, residual].compactMap { $0 } }
        /// What is read four or eight k at a time.
        var factors: [Operand] { [source, weight] + (halves?.second.map { [$0] } ?? []) }
        var isJoined: Bool { halves?.second != nil }
    }

    func matmul(_ node: Node, _ epilogue: Epilogue) throws -> [Dispatch] {
        var product = try self.product(
            node, epilogue, inner: node.sourceChannels, packing: epilogue.gated ? .interleaved : .plain)
        product.halves = (try node.joinedSource.map { try operand($0) }, node.inputs[0].shape.channels)
        if takesRows(product.rows), !epilogue.gated { return [rowProduct(product, node, epilogue)] }
        return try dispatches(product, kernel: "gemm", node, epilogue, numbers: [])
    }

    func convolution(_ node: Node, _ convolution: Convolution, _ epilogue: Epilogue) throws -> [Dispatch] {
        let source = node.inputs[0].shape
        let padding = convolution.padding
        if convolution.isProduct { return try matmul(node, epilogue) }
        let product = try self.product(node, epilogue, inner: source.channels, packing: .channelsLast)
        let numbers: [Int] = [
            source[1], source[2], convolution.enlarged?.height ?? source[1], convolution.enlarged?.width ?? source[2],
            node.output.shape[1], node.output.shape[2], convolution.kernelHeight, convolution.kernelWidth,
            convolution.stride, padding.top, padding.left,
        ]
        return try dispatches(product, kernel: "conv", node, epilogue, numbers: numbers)
    }

    private func product(_ node: Node, _ epilogue: Epilogue, inner: Int, packing: Packing) throws -> Product {
        func extra(_ index: Int?) throws -> Operand? {
            try index.map { try operand(node.inputs[$0], as: node.output.dtype) }
        }
        let shape = node.output.shape
        let rowBiases = epilogue.rowBiasIndex.map { node.inputs[$0].shape.rows } ?? 1
        return Product(
            source: try operand(node.inputs[0]),
            weight: try operand(node.inputs[1], packing: packing, as: node.output.dtype),
            result: try operand(node.output), bias: try extra(epilogue.biasIndex),
            rowBias: try extra(epilogue.rowBiasIndex), residual: try extra(epilogue.residualIndex),
            rows: shape.rows, columns: shape.channels * epilogue.columnsPerResult, inner: inner,
            rowsPerBias: max(1, shape.rows / rowBiases))
    }

    /// The most rows of which each pass over the weight makes all results.
    private static let mostRows = 8

    /// Few rows, as the step stage of an incremental plan has them, are bound by reading the weight.
    func takesRows(_ rows: Int) -> Bool {
        plan.isIncremental && rows <= Lowering.mostRows && choices.allowsRows
    }

    private func rowProduct(_ product: Product, _ node: Node, _ epilogue: Epilogue) -> Dispatch {
        let dtype = node.output.dtype
        let tile = choices.rowTile ?? .choose(on: device)
        let wide = 16 / dtype.size
        let isWide =
            product.inner.isMultiple(of: wide) && [product.source, product.weight].allSatisfy { $0.isAligned(to: 16) }
        let core = [tile.lanes * tile.columns, tile.lanes, tile.columns, product.rows, tile.held, tile.piece, 0, 0]
        return Dispatch(
            kernel: variant("gemv", dtype),
            constants: core.map { UInt32($0) } + [isWide.constant, 0] + epilogue.constants,
            push: PushConstants(
                product.operands, [product.rows, product.columns, product.inner, product.rowsPerBias]),
            groups: divideUp(product.columns, tile.columns * tile.held),
            reads: [product.source, product.weight] + product.extras, writes: [product.result],
            detail: "\(product.rows) row\(product.rows == 1 ? "" : "s")"
                + (epilogue.parts.isEmpty ? "" : " " + epilogue.parts.joined(separator: "+")))
    }

    private func matrixTile(_ node: Node) -> MatrixTile {
        let work = MatrixWork(node)
        let choice = TunedShape(node).flatMap { shape in
            choices.matrixTile(shape, work) { MatrixTile.candidates(for: work, on: device) }
        }
        return choice ?? .choose(for: work, on: device)
    }

    /// The kernel alone, or where the tile divides the sums, the kernel into scratch memory and what adds its parts.
    private func dispatches(
        _ product: Product, kernel: String, _ node: Node, _ epilogue: Epilogue, numbers: [Int]
    ) throws -> [Dispatch] {
        let tile = matrixTile(node)
        let extents = [product.rows, product.columns, product.inner, product.rowsPerBias]
        let ending = epilogue.parts.isEmpty ? "" : " " + epilogue.parts.joined(separator: "+")
        if tile.parts == 1 {
            let run = MatrixRun(
                kernel: kernel, operands: product.operands, extras: product.extras, result: product.result,
                numbers: extents + numbers)
            return [dispatch(run, tile, product, node.output.dtype, epilogue, ending)]
        }
        let sums = try memory.scratch(bytes: tile.partialBytes(MatrixWork(node)))
        let run = MatrixRun(
            kernel: kernel, operands: [product.source, product.weight, sums, .none, .none, .none], extras: [],
            result: sums, numbers: extents + numbers)
        return [
            dispatch(run, tile, product, node.output.dtype, Epilogue(), ""),
            merge(product, sums, parts: tile.parts, node.output.dtype, epilogue, ending),
        ]
    }

    /// What one run of a matrix kernel is given.
    private struct MatrixRun {
        let kernel: String
        let operands: [Operand]
        let extras: [Operand]
        let result: Operand
        let numbers: [Int]
    }

    private func dispatch(
        _ run: MatrixRun, _ tile: MatrixTile, _ product: Product, _ dtype: DType, _ epilogue: Epilogue,
        _ ending: String
    ) -> Dispatch {
        let vectorK = allowsRuns(of: tile.loadWidth, product.factors, dtype, extents: [product.inner])
        let stored = tile.parts > 1 ? DType.float32 : dtype
        let vectorN = allowsFours([run.result] + run.extras, stored, extents: [product.columns])
        return Dispatch(
            kernel: variant(run.kernel + tile.core.suffix, dtype),
            constants: tile.constants + [vectorK.constant, vectorN.constant] + epilogue.constants
                + tile.lastConstants(isJoined: product.isJoined) + [epilogue.gated.constant],
            subgroupSize: tile.subgroupSize, push: push(run, product),
            groups: tile.groups(rows: product.rows, columns: product.columns) * tile.parts,
            reads: product.factors + run.extras, writes: [run.result],
            detail: "\(tile)" + (product.isJoined ? " of two sources" : "") + ending)
    }

    private func push(_ run: MatrixRun, _ product: Product) -> PushConstants {
        let push = PushConstants(run.operands, run.numbers)
        return product.halves.map { push.followed(by: [$0.second ?? .none], [$0.split]) } ?? push
    }

    /// Adds the parts of a product's sums, in order, and does what the epilogue asks for.
    private func merge(
        _ product: Product, _ sums: Operand, parts: Int, _ dtype: DType, _ epilogue: Epilogue, _ ending: String
    ) -> Dispatch {
        let threads = 64
        let vectorN =
            allowsFours([product.result] + product.extras, dtype, extents: [product.columns])
            && sums.isAligned(to: 16)
        let operands = [sums, .none, product.result] + product.operands.dropFirst(3)
        return Dispatch(
            kernel: variant("merge_parts", dtype),
            constants: [UInt32(threads)] + [UInt32](repeating: 0, count: 8) + [vectorN.constant] + epilogue.constants
                // One part, as each sum is whole now; what belongs to cores and sources does not count.
                + [1, 0, 0, epilogue.gated.constant],
            push: PushConstants(operands, [product.rows, product.columns, parts, product.rowsPerBias]),
            groups: divideUp(product.rows * product.columns, threads * (vectorN ? 4 : epilogue.columnsPerResult)),
            reads: [sums] + product.extras, writes: [product.result], detail: "\(parts) parts" + ending)
    }
}

extension Epilogue {
    /// Specialization constants 10 to 13 of Shaders/include/matrix.glsl.
    var constants: [UInt32] {
        [bias.constant, rowBias.constant, activation?.kernelCode ?? 0, residual.constant]
    }
}
