import CalderaGraph

extension StepBuilder {
    func activation(_ node: Node, _ function: Activation) throws -> Step {
        let from = try address(node.inputs[0], label: node.label)
        let to = try destination(node.output, label: node.label)
        let count = node.output.shape.count
        func make<T: ComputedElement>(_: T.Type) -> Step {
            let (from, to) = (from.assumingMemoryBound(to: T.self), to.assumingMemoryBound(to: T.self))
            return {
                Parallel.elements(count) { range in
                    T.apply(function, from + range.lowerBound, to + range.lowerBound, range.count)
                }
            }
        }
        return try float(node.output.dtype, node, make(Float.self), make(BFloat16.self))
    }

    /// scale · source + shift.
    func scaleShift(_ node: Node, scale: Float, shift: Float) throws -> Step {
        let from = try address(node.inputs[0], label: node.label)
        let to = try destination(node.output, label: node.label)
        let count = node.output.shape.count
        func make<T: Element>(_: T.Type) -> Step {
            let (from, to) = (from.assumingMemoryBound(to: T.self), to.assumingMemoryBound(to: T.self))
            return {
                Parallel.elements(count) { range in
                    mapLanes(from + range.lowerBound, to + range.lowerBound, range.count) { $2 * scale + shift }
                }
            }
        }
        return try float(node.output.dtype, node, make(Float.self), make(BFloat16.self))
    }

    /// Two tensors of one shape, or a row [B or 1, C] added to every pixel of [B, ..., C].
    func add(_ node: Node) throws -> Step {
        let (left, right) = (node.inputs[0], node.inputs[1])
        let channels = left.shape.channels
        // Rows of the left that share a row of the right: one row each where the shapes are the same.
        let sharing =
            left.shape == right.shape ? 1 : right.shape[0] == 1 ? left.shape.rows : left.shape.rows / left.shape[0]
        return try rowSums(node, left, right, rows: left.shape.rows, channels: channels) { ($0, $0 / sharing) }
    }

    /// Every row of [S, C] plus every row of [B, C] -> [S, B, C].
    func outerSum(_ node: Node) throws -> Step {
        let (left, right) = (node.inputs[0], node.inputs[1])
        let batch = right.shape[0]
        return try rowSums(node, left, right, rows: left.shape[0] * batch, channels: left.shape.channels) {
            ($0 / batch, $0 % batch)
        }
    }

    /// output[row] = left[sources(row).0] + right[sources(row).1].
    private func rowSums(
        _ node: Node, _ left: Tensor, _ right: Tensor, rows: Int, channels: Int,
        _ sources: @escaping (Int) -> (Int, Int)
    ) throws -> Step {
        let first = try address(left, label: node.label)
        let second = try address(right, label: node.label)
        let to = try destination(node.output, label: node.label)
        func make<T: Element>(_: T.Type) -> Step {
            let to = to.assumingMemoryBound(to: T.self)
            return {
                Parallel.rows(rows, channels: channels) { range in
                    for row in range {
                        let (a, b) = sources(row)
                        let other = second.assumingMemoryBound(to: T.self) + b * channels
                        mapLanes(
                            first.assumingMemoryBound(to: T.self) + a * channels, to + row * channels, channels
                        ) { index, width, lanes in lanes + loadLanes(other + index, width) }
                    }
                }
            }
        }
        return try float(node.output.dtype, node, make(Float.self), make(BFloat16.self))
    }

    /// source [..., 2C] -> [..., C]: first half times gelu(second half).
    func geglu(_ node: Node) throws -> Step {
        let from = try address(node.inputs[0], label: node.label)
        let to = try destination(node.output, label: node.label)
        let (rows, channels) = (node.output.shape.rows, node.output.shape.channels)
        func make<T: ComputedElement>(_: T.Type) -> Step {
            let (from, to) = (from.assumingMemoryBound(to: T.self), to.assumingMemoryBound(to: T.self))
            return {
                Parallel.rows(rows, channels: channels) { range in
                    for row in range {
                        let value = from + 2 * row * channels
                        T.gate(value, value + channels, to + row * channels, channels)
                    }
                }
            }
        }
        return try float(node.output.dtype, node, make(Float.self), make(BFloat16.self))
    }

    /// The same values in another element type, or in another place.
    func cast(_ node: Node) throws -> Step {
        let source = node.inputs[0]
        let from = try address(source, label: node.label)
        let to = try destination(node.output, label: node.label)
        let (count, dtype) = (source.shape.count, node.output.dtype)
        return { convert(from, source.dtype, to: to, dtype, count: count) }
    }

    /// step int32 [1] -> step + 1.
    func increment(_ node: Node) throws -> Step {
        let from = try address(node.inputs[0], label: node.label).assumingMemoryBound(to: Int32.self)
        let to = try destination(node.output, label: node.label).assumingMemoryBound(to: Int32.self)
        let count = node.output.shape.count
        return { for index in 0..<count { to[index] = from[index] &+ 1 } }
    }

    /// Σᵢ coefficients[step, columns[i]] · sourceᵢ, summed in fp32.
    func weightedSum(_ node: Node, _ columns: [Int]) throws -> Step {
        let table = try address(node.inputs[0], label: node.label).assumingMemoryBound(to: Float.self)
        let counter = try address(node.inputs[1], label: node.label).assumingMemoryBound(to: Int32.self)
        let sources = try node.inputs.dropFirst(2).map { (try address($0, label: node.label), $0.dtype) }
        let to = try destination(node.output, label: node.label)
        let (count, shape, dtype, label) = (
            node.output.shape.count, node.inputs[0].shape, node.output.dtype, node.label
        )
        return {
            let step = try checkedIndex(counter[0], below: shape[0], label)
            let factors = columns.map { table[step * shape[1] + $0] }
            Parallel.ranges(count, grain: WeightedSum.chunk) { range in
                WeightedSum.add(sources, factors, range, to: to, dtype)
            }
        }
    }
}

/// Throws when an index that was computed or written lies outside its table.
func checkedIndex(_ index: Int32, below count: Int, _ label: String) throws -> Int {
    guard index >= 0, Int(index) < count else {
        throw CalderaError("\(label): the index \(index) lies outside a table of \(count) entries.")
    }
    return Int(index)
}

/// Weighted sums of values of several element types, a chunk of elements at a time.
private enum WeightedSum {
    /// Elements of one chunk, whose fp32 sums lie on the stack.
    static let chunk = 4096

    static func add(
        _ sources: [(UnsafeRawPointer, DType)], _ factors: [Float], _ range: Range<Int>,
        to destination: UnsafeMutableRawPointer, _ dtype: DType
    ) {
        withUnsafeTemporaryAllocation(of: Float.self, capacity: range.count) { buffer in
            guard let sums = buffer.baseAddress else { return }
            sums.initialize(repeating: 0, count: range.count)
            for ((source, type), factor) in zip(sources, factors) {
                let first = source + range.lowerBound * type.size
                switch type {
                case .float32: add(first.assumingMemoryBound(to: Float.self), factor, sums, range.count)
                case .bfloat16: add(first.assumingMemoryBound(to: BFloat16.self), factor, sums, range.count)
                case .float16: add(first.assumingMemoryBound(to: Half.self), factor, sums, range.count)
                case .int32: add(first.assumingMemoryBound(to: Int32.self), factor, sums, range.count)
                }
            }
            convert(sums, .float32, to: destination + range.lowerBound * dtype.size, dtype, count: range.count)
        }
    }

    private static func add<T: Element>(
        _ source: UnsafePointer<T>, _ factor: Float, _ sums: UnsafeMutablePointer<Float>, _ count: Int
    ) {
        mapLanes(source, sums, count) { $2 * factor + loadLanes(sums + $0, $1) }
    }
}
