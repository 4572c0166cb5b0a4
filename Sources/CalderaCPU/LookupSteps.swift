import CalderaGraph

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

extension StepBuilder {
    /// ids int32 [B, T], token table [V, C] and, where there is one, position table [P, C] -> [B, T, C].
    /// The tables stay in the model's files: only the rows that the ids name are read.
    func embedding(_ node: Node) throws -> Step {
        let (ids, tokens, positions) = (node.inputs[0], node.inputs[1], node.inputs.dropFirst(2).first)
        let numbers = try address(ids, label: node.label).assumingMemoryBound(to: Int32.self)
        let to = try destination(node.output, label: node.label)
        let (channels, label, dtype) = (node.output.shape.channels, node.label, node.output.dtype)
        scratch.reserve(2 * channels * MemoryLayout<Float>.stride)
        return { [self] in
            guard let row = scratch.base?.assumingMemoryBound(to: Float.self) else { return }
            for index in 0..<ids.shape.count {
                let token = try checkedIndex(numbers[index], below: tokens.shape[0], label)
                try readRow(tokens, token, to: row, label)
                if let positions {
                    try readRow(positions, index % ids.shape[1], to: row + channels, label)
                    mapLanes(row, row, channels) { $2 + loadLanes(row + channels + $0, $1) }
                }
                convert(row, .float32, to: to + index * channels * dtype.size, dtype, count: channels)
            }
            weights.release(tokens)
            if let positions { weights.release(positions) }
        }
    }

    /// Row `index` of a table, which is a weight in its file or a computed value, as fp32.
    private func readRow(
        _ table: Tensor, _ index: Int, to destination: UnsafeMutablePointer<Float>, _ label: String
    ) throws {
        func read(_ base: UnsafeRawPointer, _ dtype: DType) {
            let channels = table.shape.channels
            convert(base + index * channels * dtype.size, dtype, to: destination, .float32, count: channels)
        }
        if plan.weightName(table) != nil {
            try weights.withElements(table, label: label, read)
        } else {
            read(try address(table, label: label), table.dtype)
        }
    }

    /// x fp32 [rows] -> [rows, channels]: sines and cosines of x·exp(-ln 10000 · i / (channels/2 - shift))
    /// (diffusers, `get_timestep_embedding`), in double precision because the angles have many turns.
    func sinusoid(_ node: Node, channels: Int, flipSinToCos: Bool, shift: Float) throws -> Step {
        let numbers = try address(node.inputs[0], label: node.label).assumingMemoryBound(to: Float.self)
        let to = try destination(node.output, label: node.label)
        let (rows, half, dtype) = (node.output.shape[0], channels / 2, node.output.dtype)
        let frequencies = (0..<half).map { exp(-log(10_000) * Double($0) / (Double(half) - Double(shift))) }
        scratch.reserve(channels * MemoryLayout<Float>.stride)
        return { [scratch] in
            guard let row = scratch.base?.assumingMemoryBound(to: Float.self) else { return }
            let (sines, cosines) = flipSinToCos ? (row + half, row) : (row, row + half)
            for index in 0..<rows {
                for (channel, frequency) in frequencies.enumerated() {
                    let angle = Double(numbers[index]) * frequency
                    sines[channel] = Float(sin(angle))
                    cosines[channel] = Float(cos(angle))
                }
                convert(row, .float32, to: to + index * channels * dtype.size, dtype, count: channels)
            }
        }
    }

    /// Row index[0] of a table [S, ...].
    func select(_ node: Node) throws -> Step {
        let (table, label) = (node.inputs[0], node.label)
        let from = try address(table, label: label)
        let index = try address(node.inputs[1], label: label).assumingMemoryBound(to: Int32.self)
        let to = try destination(node.output, label: label)
        let size = node.output.shape.count * table.dtype.size
        return {
            let row = try checkedIndex(index[0], below: table.shape[0], label)
            copyBytes(from + row * size, to: to, size)
        }
    }

    /// Token index[b] of each sequence of [B, T, C].
    func gatherToken(_ node: Node) throws -> Step {
        let (source, label) = (node.inputs[0], node.label)
        let from = try address(source, label: label)
        let indices = try address(node.inputs[1], label: label).assumingMemoryBound(to: Int32.self)
        let to = try destination(node.output, label: label)
        let (tokens, size) = (source.shape[1], source.shape.channels * source.dtype.size)
        return {
            for batch in 0..<source.shape[0] {
                let token = try checkedIndex(indices[batch], below: tokens, label)
                (to + batch * size).copyMemory(from: from + (batch * tokens + token) * size, byteCount: size)
            }
        }
    }

    /// Two tensors side by side along `axis`.
    func concat(_ node: Node, axis: Int) throws -> Step {
        let sources = try node.inputs.map { tensor in
            let size = tensor.shape.extents[axis...].reduce(tensor.dtype.size, *)
            return (address: try address(tensor, label: node.label), size: size)
        }
        let to = try destination(node.output, label: node.label)
        let rows = node.output.shape.extents[..<axis].reduce(1, *)
        let rowSize = sources.reduce(0) { $0 + $1.size }
        return {
            Parallel.rows(rows, channels: rowSize / 4) { range in
                for row in range {
                    var place = to + row * rowSize
                    for source in sources {
                        place.copyMemory(from: source.address + row * source.size, byteCount: source.size)
                        place += source.size
                    }
                }
            }
        }
    }
}
