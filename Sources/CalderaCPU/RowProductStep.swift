import CVectorMath
import CalderaGraph

/// Products of a few rows with a weight that is read row by row, where what bounds them is reading the weight: what an
/// incremental plan does for each new token.
extension StepBuilder {
    /// More rows than these are worth a matrix product.
    static let mostRows = 8

    /// Whether a product is computed here.
    func takesRows(_ node: Node, _ epilogue: Epilogue) -> Bool {
        plan.isIncremental && node.inputs[0].shape.rows <= StepBuilder.mostRows && !epilogue.rowBias
            && plan.weightName(node.inputs[1]) != nil
    }

    /// source [..., K] · weight [N, K]ᵀ with its epilogue, K and N as the file has them; sums in fp32.
    func rowProduct(_ node: Node, _ epilogue: Epilogue) throws -> Step {
        let product = try RowProduct(self, node, epilogue)
        func make<T: ComputedElement>(_: T.Type) -> Step {
            { [scratch] in
                try product.weight.load()
                guard let base = scratch.base, let weight = product.weight.address else { return }
                product.run(weight.assumingMemoryBound(to: T.self), scratch: base.assumingMemoryBound(to: Float.self))
            }
        }
        return try float(node.output.dtype, node, make(Float.self), make(BFloat16.self))
    }
}

private struct RowProduct {
    let weight: PackedWeight
    private let rows: Int
    private let depth: Int
    private let columns: Int
    private let epilogue: Epilogue
    private let source: UnsafeRawPointer
    private let bias: UnsafePointer<Float>?
    private let residual: UnsafeRawPointer?
    private let output: UnsafeMutableRawPointer

    /// Columns that a thread takes at one time.
    private static let grain = 64

    init(_ builder: StepBuilder, _ node: Node, _ epilogue: Epilogue) throws {
        let label = node.label
        self.epilogue = epilogue
        (rows, depth) = (node.inputs[0].shape.rows, node.inputs[0].shape.channels)
        columns = node.output.shape.channels
        // It only says how the weight lies, which the products of many rows then find as they want it.
        let key = MatmulKey(
            rows: rows, columns: columns, depth: depth, sourceStride: depth, destinationStride: columns,
            weightsStrides: .rowByRow(depth: depth), dtype: node.inputs[0].dtype, destinationType: node.output.dtype)
        weight = try builder.weights.pack(
            node.inputs[1], .stored, for: builder.engine.matmul(key, label: label), node)
        source = try builder.address(node.inputs[0], label: label)
        bias = try epilogue.biasIndex.map { try builder.weights.vector(node.inputs[$0], label: label) }
        residual = try epilogue.residualIndex.map { try builder.address(node.inputs[$0], label: label) }
        output = try builder.destination(node.output, label: label)
        builder.scratch.reserve((rows * depth + Parallel.threads * rows * RowProduct.grain) * MemoryLayout<Float>.size)
    }

    func run<T: ComputedElement>(_ weight: UnsafePointer<T>, scratch: UnsafeMutablePointer<Float>) {
        let from = source.assumingMemoryBound(to: T.self)
        mapLanes(from, scratch, rows * depth) { $2 }
        Parallel.run((columns + RowProduct.grain - 1) / RowProduct.grain) { thread, index in
            let first = index * RowProduct.grain
            let count = min(RowProduct.grain, columns - first)
            let sums = scratch + rows * depth + thread * rows * RowProduct.grain
            T.rowProducts(
                weight + first * depth, scratch, sums,
                cvm_row_extents(
                    count: count, depth: depth, vectors: rows, matrix_stride: depth, vector_stride: depth,
                    result_stride: RowProduct.grain))
            for row in 0..<rows { finish(T.self, sums + row * RowProduct.grain, row, first, count) }
            return 0
        }
    }

    /// Bias, activation, residual, for `count` columns of a row.
    private func finish<T: ComputedElement>(
        _: T.Type, _ sums: UnsafeMutablePointer<Float>, _ row: Int, _ first: Int, _ count: Int
    ) {
        if let bias { mapLanes(sums, sums, count) { $2 + loadLanes(bias + first + $0, $1) } }
        if let function = epilogue.activation { Float.apply(function, sums, sums, count) }
        let offset = row * columns + first
        let result = output.assumingMemoryBound(to: T.self) + offset
        guard let residual = residual?.assumingMemoryBound(to: T.self) else {
            return mapLanes(sums, result, count) { $2 }
        }
        mapLanes(sums, result, count) { $2 + loadLanes(residual + offset + $0, $1) }
    }
}
