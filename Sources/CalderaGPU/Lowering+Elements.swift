import CalderaGraph
import Foundation

/// Operations that look at one element, one row or one index at a time (Shaders/elementwise, Shaders/resample).
extension Lowering {
    private static let threads = 256

    /// A kernel over `count` elements, `width` of them for each step of a thread.
    func elementwise(
        _ kernel: String, _ node: Node, width: Int = 1, constants: [UInt32] = [], reads: [Operand],
        operands: [Operand]? = nil, numbers: [any PushNumber] = [], detail: String = ""
    ) throws -> Dispatch {
        let count = node.output.shape.count
        let result = try operand(node.output)
        // More workgroups than one dimension allows would only make threads that find nothing left to do.
        let groups = min(divideUp(count, Lowering.threads * width), device.maxWorkgroupCount.0)
        return Dispatch(
            kernel: kernel, constants: [UInt32(Lowering.threads), UInt32(width)] + constants,
            push: PushConstants((operands ?? reads) + (operands == nil ? [result] : []), numbers), groups: groups,
            reads: reads, writes: [result], detail: detail)
    }

    func activation(_ node: Node, _ function: Activation) throws -> Dispatch {
        let (source, result) = (try operand(node.inputs[0]), try operand(node.output))
        let (count, dtype) = (node.output.shape.count, node.output.dtype)
        let width = allowsFours([source, result], dtype, extents: [count]) ? 4 : 1
        return try elementwise(
            variant("activation", dtype), node, width: width, constants: [function.kernelCode], reads: [source],
            numbers: [count], detail: function.rawValue)
    }

    func scaleShift(_ node: Node, scale: Float, shift: Float) throws -> Dispatch {
        let (source, result) = (try operand(node.inputs[0]), try operand(node.output))
        let (count, dtype) = (node.output.shape.count, node.output.dtype)
        let width = allowsFours([source, result], dtype, extents: [count]) ? 4 : 1
        return try elementwise(
            variant("scale_shift", dtype), node, width: width, reads: [source], numbers: [count, scale, shift],
            detail: "\(scale), \(shift)")
    }

    /// The sum of one shape and another that repeats, told by what an entry takes from each (add.comp).
    private func sum(
        _ node: Node, inner: Int, channels: Int, perEntry: (left: Int, right: Int), rows: (left: Bool, right: Bool)
    ) throws -> Dispatch {
        let sources = try node.inputs.map { try operand($0, as: node.output.dtype) }
        let result = try operand(node.output)
        let (count, dtype) = (node.output.shape.count, node.output.dtype)
        let width = allowsFours(sources + [result], dtype, extents: [inner, channels]) ? 4 : 1
        return try elementwise(
            variant("add", dtype), node, width: width, constants: [rows.left.constant, rows.right.constant],
            reads: sources, numbers: [count, inner, channels, perEntry.left, perEntry.right])
    }

    func add(_ node: Node) throws -> Dispatch {
        let (left, right) = (node.inputs[0].shape, node.inputs[1].shape)
        let count = left.count
        if left == right {
            return try sum(node, inner: count, channels: count, perEntry: (0, 0), rows: (false, false))
        }
        let inner = count / left[0]
        return try sum(
            node, inner: inner, channels: left.channels, perEntry: (inner, right[0] == 1 ? 0 : left.channels),
            rows: (false, true))
    }

    func outerSum(_ node: Node) throws -> Dispatch {
        let (channels, entries) = (node.inputs[0].shape.channels, node.inputs[1].shape[0])
        return try sum(
            node, inner: entries * channels, channels: channels, perEntry: (channels, 0), rows: (true, false))
    }

    func geglu(_ node: Node) throws -> Dispatch {
        let (source, result) = (try operand(node.inputs[0]), try operand(node.output))
        let (shape, dtype) = (node.output.shape, node.output.dtype)
        let width = allowsFours([source, result], dtype, extents: [shape.channels]) ? 4 : 1
        return try elementwise(
            variant("geglu", dtype), node, width: width, reads: [source], numbers: [shape.count, shape.channels])
    }

    func concat(_ node: Node, axis: Int) throws -> Dispatch {
        let sources = try node.inputs.map { try operand($0, as: node.output.dtype) }
        let result = try operand(node.output)
        let dtype = node.output.dtype
        let runs = node.inputs.map { $0.shape.extents.dropFirst(axis).reduce(1, *) }
        let width = allowsFours(sources + [result], dtype, extents: runs) ? 4 : 1
        return try elementwise(
            variant("concat", dtype), node, width: width, reads: sources,
            numbers: [node.output.shape.count, runs[0], runs[1]], detail: "axis \(axis)")
    }

    func upsampleNearest(_ node: Node) throws -> Dispatch {
        let (source, result) = (try operand(node.inputs[0]), try operand(node.output))
        let (from, to, dtype) = (node.inputs[0].shape, node.output.shape, node.output.dtype)
        let width = allowsFours([source, result], dtype, extents: [to.channels]) ? 4 : 1
        return try elementwise(
            variant("upsample_nearest", dtype), node, width: width, reads: [source],
            numbers: [to.count, to.channels, from[1], from[2], to[1], to[2]])
    }

    func embedding(_ node: Node) throws -> Dispatch {
        let (shape, dtype) = (node.output.shape, node.output.dtype)
        let ids = try operand(node.inputs[0])
        let tables = try node.inputs.dropFirst().map { try operand($0, as: dtype) }
        let width = allowsFours(tables + [try operand(node.output)], dtype, extents: [shape.channels]) ? 4 : 1
        let isPositioned = tables.count > 1
        return try elementwise(
            variant("embedding", dtype), node, width: width, constants: [isPositioned.constant], reads: [ids] + tables,
            operands: [ids] + tables + (isPositioned ? [] : [.none]) + [try operand(node.output)],
            numbers: [shape.count, shape.channels, shape[1], node.inputs[1].shape[0]])
    }

    func sinusoid(_ node: Node, channels: Int, cosinesFirst: Bool, shift: Float) throws -> Dispatch {
        let half = channels / 2
        let frequencies = (0..<half).map { Float(exp(-log(10_000) * Double($0) / (Double(half) - Double(shift)))) }
        let sources = [try operand(node.inputs[0]), try memory.constant(frequencies)]
        return try elementwise(
            variant("sinusoid", node.output.dtype), node, constants: [cosinesFirst.constant], reads: sources,
            numbers: [node.output.shape.count, half])
    }

    func weightedSum(_ node: Node, columns: [Int]) throws -> Dispatch {
        let reads = try node.inputs.map { try operand($0) }
        let sources = Array(reads.dropFirst(2))
        let padding = Graph.largestWeightedSum - columns.count
        let halves = node.inputs.dropFirst(2).enumerated()
            .reduce(UInt32(0)) { $0 | ($1.element.dtype == .float16 ? 1 << UInt32($1.offset) : 0) }
        let operands =
            [reads[0], reads[1], try operand(node.output)] + sources + [Operand](repeating: .none, count: padding)
        let table = node.inputs[0].shape
        return try elementwise(
            variant("weighted_sum", node.output.dtype), node, constants: [UInt32(columns.count), halves], reads: reads,
            operands: operands,
            numbers: columns + [Int](repeating: 0, count: padding) + [table[1], table[0], node.output.shape.count],
            detail: "\(columns.count) term\(columns.count == 1 ? "" : "s")")
    }

    func cast(_ node: Node) throws -> Dispatch {
        func code(_ dtype: DType) -> UInt32 {
            switch dtype {
            case .float32, .bfloat16: 0
            case .float16: 1
            case .int32: 2
            }
        }
        return try elementwise(
            "cast.FP32", node, constants: [code(node.inputs[0].dtype), code(node.output.dtype)],
            reads: [try operand(node.inputs[0], as: node.inputs[0].dtype)], numbers: [node.output.shape.count],
            detail: "\(node.inputs[0].dtype) to \(node.output.dtype)")
    }

    func increment(_ node: Node) throws -> Dispatch {
        try elementwise(
            "increment.FP32", node, reads: [try operand(node.inputs[0])], numbers: [node.output.shape.count])
    }

    // MARK: Copies

    /// Rows of `rowSize` elements, copied bit for bit by index (copy.comp).
    private func copy(
        _ node: Node, index: Operand?, rowSize: Int, tableStride: Int = 0, tableRows: Int = 1
    ) throws -> Dispatch {
        let (source, result) = (try operand(node.inputs[0]), try operand(node.output))
        let (count, dtype) = (node.output.shape.count, node.output.dtype)
        let width = allowsFours([source, result], dtype, extents: [rowSize]) ? 4 : 1
        return try elementwise(
            variant("copy", dtype), node, width: width, constants: [(index != nil).constant],
            reads: [source] + (index.map { [$0] } ?? []), operands: [source, index ?? .none, result],
            numbers: [count, rowSize, tableStride, tableRows], detail: node.op.name)
    }

    func select(_ node: Node) throws -> Dispatch {
        try copy(
            node, index: try operand(node.inputs[1]), rowSize: node.output.shape.count,
            tableRows: node.inputs[0].shape[0])
    }

    func gatherToken(_ node: Node) throws -> Dispatch {
        let source = node.inputs[0].shape
        return try copy(
            node, index: try operand(node.inputs[1]), rowSize: source.channels, tableStride: source[1],
            tableRows: source[1])
    }

    /// Nothing where the value lies in the state already.
    func assign(_ node: Node) throws -> [Dispatch] {
        let (source, target) = (try operand(node.inputs[0]), try operand(node.output))
        if source.address == target.address { return [] }
        return [try copy(node, index: nil, rowSize: node.output.shape.count)]
    }
}
