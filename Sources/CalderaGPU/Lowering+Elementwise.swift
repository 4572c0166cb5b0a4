import CalderaGraph

/// Everything that goes over the elements of the result (Shaders/elementwise, Shaders/resample).
extension Lowering {
    func elementwise(_ node: Node, _ at: NodeAddresses) throws -> KernelCall {
        let inputs = node.inputs.map(\.shape)
        let output = node.output.shape
        switch node.op {
        case .activation(let function):
            return call("activation", node, at, constants: [function.kernelCode], [at.input(0), at.output])
        case .add:
            return add(node, at)
        case .outerSum:
            let numbers = [inputs[1].count, output.channels, output.channels, 0]
            return call(
                "add", node, at, constants: [1, 0], [at.input(0), at.input(1), at.output], numbers, run: output.channels
            )
        case .geglu:
            return call("geglu", node, at, [at.input(0), at.output], [output.channels], run: output.channels)
        case .concat(let axis):
            let runs = inputs.map { $0.extents[axis...].reduce(1, *) }
            let isEven = runs.allSatisfy { $0 % 4 == 0 }
            return call("concat", node, at, [at.input(0), at.input(1), at.output], runs, run: isEven ? 4 : 1)
        case .upsampleNearest(let height, let width):
            return call(
                "upsample_nearest", node, at, [at.input(0), at.output],
                [output.channels, inputs[0][1], inputs[0][2], height, width], run: output.channels)
        case .embedding:
            return call(
                "embedding", node, at, [at.input(0), at.input(1), at.input(2), at.output],
                [output.channels, output[1], inputs[1][0]], run: output.channels)
        case .select:
            return copy(node, at, rowSize: output.count, tableStride: 0, tableRows: inputs[0][0])
        case .gatherToken:
            return copy(node, at, rowSize: output.channels, tableStride: inputs[0][1], tableRows: inputs[0][1])
        case .assign:
            return copy(node, at)
        case .cast:
            return try cast(node, at)
        case .sinusoid(let channels, let flipSinToCos, _):
            let table = scratch?.frequencies[node.output.id] ?? ByteRange(start: 0, count: 0)
            return call(
                "sinusoid", node, at, constants: [flipSinToCos.code], [at.input(0), table, at.output], [channels / 2],
                run: 1)
        case .weightedSum(let columns):
            return weightedSum(node, columns, at)
        case .increment:
            return call("increment", node, at, [at.input(0), at.output], run: 1)
        case .matmul, .convolution, .groupNorm, .layerNorm, .attention:
            throw CalderaError("\(node.label): \(node.op.name) is not element-wise.")
        }
    }

    /// See `add.comp`: either operand may be a row that the pixels of an entry share.
    private func add(_ node: Node, _ at: NodeAddresses) -> KernelCall {
        let (left, right) = (node.inputs[0].shape, node.inputs[1].shape)
        let addresses = [at.input(0), at.input(1), at.output]
        if left == right {
            return call(
                "add", node, at, constants: [0, 0], addresses, [left.count, left.channels, 0, 0], run: left.count)
        }
        let inner = left.count / left[0]
        let numbers = [inner, left.channels, inner, right[0] == 1 ? 0 : left.channels]
        return call("add", node, at, constants: [0, 1], addresses, numbers, run: left.channels)
    }

    /// Bit for bit; from an indexed row of a table where `tableRows` is given.
    private func copy(
        _ node: Node, _ at: NodeAddresses, rowSize: Int = 1, tableStride: Int = 0, tableRows: Int? = nil
    ) -> KernelCall {
        call(
            "copy", node, at, constants: [(tableRows != nil).code],
            [at.input(0), tableRows == nil ? at.input(0) : at.input(1), at.output],
            [rowSize, tableStride, tableRows ?? 1], run: tableRows == nil ? node.output.shape.count : rowSize)
    }

    private func cast(_ node: Node, _ at: NodeAddresses) throws -> KernelCall {
        guard let source = node.inputs[0].dtype.kernelCode, let target = node.output.dtype.kernelCode else {
            throw CalderaError("\(node.label): Vulkan kernels do not store bf16.")
        }
        return call("cast", node, at, build: "FP32", constants: [source, target], [at.input(0), at.output], run: 1)
    }

    private func weightedSum(_ node: Node, _ columns: [Int], _ at: NodeAddresses) -> KernelCall {
        let mostTerms = 4
        let sources = (0..<mostTerms).map { at.input(2 + min($0, columns.count - 1)) }
        let halves = columns.indices.reduce(UInt32(0)) { mask, index in
            node.inputs[2 + index].dtype == .float16 ? mask | 1 << UInt32(index) : mask
        }
        let table = node.inputs[0].shape
        var push = PushConstants()
        for range in [at.input(0), at.input(1), at.output] + sources { push.address(range.start) }
        for term in 0..<mostTerms { push.uint(columns[min(term, columns.count - 1)]) }
        push.uint(table[1])
        push.uint(table[0])
        push.uint(node.output.shape.count)
        return KernelCall(
            shader: "weighted_sum.\(Lowering.build(node.output.dtype))",
            constants: [UInt32(choice.elementThreads), 1, UInt32(columns.count), halves], push: push,
            groups: groups(node.output.shape.count), reads: at.inputs, writes: [at.output],
            detail: "\(columns.count) terms")
    }

    /// Addresses, then the count of elements, then further numbers.
    /// - Parameter run: elements that lie side by side in every operand; four are taken at one time where it allows.
    private func call(
        _ shader: String, _ node: Node, _ at: NodeAddresses, build: String? = nil, constants: [UInt32] = [],
        _ addresses: [ByteRange], _ numbers: [Int] = [], run: Int? = nil
    ) -> KernelCall {
        let count = node.output.shape.count
        let size = node.output.dtype.size
        let isWide = (run ?? count) % 4 == 0 && count % 4 == 0 && addresses.allSatisfy { $0.isAligned(to: 4 * size) }
        let width = isWide ? 4 : 1
        var push = PushConstants()
        for range in addresses { push.address(range.start) }
        push.uint(count)
        for number in numbers { push.uint(number) }
        return KernelCall(
            shader: "\(shader).\(build ?? Lowering.build(node.output.dtype))",
            constants: [UInt32(choice.elementThreads), UInt32(width)] + constants, push: push,
            groups: groups(count / width), reads: at.inputs, writes: [at.output], detail: "")
    }

    private func groups(_ pieces: Int) -> Int { (pieces + choice.elementThreads - 1) / choice.elementThreads }
}

extension DType {
    /// The number in `cast.comp`; nil for a type that no kernel stores.
    fileprivate var kernelCode: UInt32? {
        switch self {
        case .float32: 0
        case .float16: 1
        case .int32: 2
        case .bfloat16: nil
        }
    }
}
