import CalderaGraph

extension StepBuilder {
    /// source [..., C] -> (source - mean) / √(variance + ε) · weight + bias, statistics in fp32 over each row.
    func layerNorm(_ node: Node, epsilon: Float) throws -> Step {
        let source = node.inputs[0]
        let weight = try weights.vector(node.inputs[1], label: node.label)
        let bias = try weights.vector(node.inputs[2], label: node.label)
        let from = try address(source, label: node.label)
        let to = try destination(node.output, label: node.label)
        let (rows, channels) = (source.shape.rows, source.shape.channels)
        func make<T: ComputedElement>(_: T.Type) -> Step {
            let from = from.assumingMemoryBound(to: T.self)
            let to = to.assumingMemoryBound(to: T.self)
            return {
                Parallel.rows(rows, channels: channels) { range in
                    for row in range {
                        T.layerNorm(
                            from + row * channels, weight: weight, bias: bias, to + row * channels, channels,
                            epsilon: epsilon)
                    }
                }
            }
        }
        return try float(source.dtype, node, make(Float.self), make(BFloat16.self))
    }

    /// source [..., C] -> source / √(mean of squares + ε) · weight, the mean in fp32 over each row.
    func rmsNorm(_ node: Node, epsilon: Float) throws -> Step {
        let source = node.inputs[0]
        let weight = try weights.vector(node.inputs[1], label: node.label)
        let from = try address(source, label: node.label)
        let to = try destination(node.output, label: node.label)
        let (rows, channels) = (source.shape.rows, source.shape.channels)
        func make<T: ComputedElement>(_: T.Type) -> Step {
            let from = from.assumingMemoryBound(to: T.self)
            let to = to.assumingMemoryBound(to: T.self)
            return {
                Parallel.rows(rows, channels: channels) { range in
                    for row in range {
                        T.rmsNorm(
                            from + row * channels, weight: weight, to + row * channels, channels, epsilon: epsilon)
                    }
                }
            }
        }
        return try float(source.dtype, node, make(Float.self), make(BFloat16.self))
    }

    /// source [B, ..., C], statistics in fp32 over each picture's groups of channels; the source may be joined.
    func groupNorm(_ node: Node, groups: Int, epsilon: Float, _ function: Activation?) throws -> Step {
        let source = node.inputs[0]
        let norm = GroupNorm(
            batch: source.shape[0], rows: source.shape.rows / source.shape[0], channels: node.sourceChannels,
            groups: groups, epsilon: epsilon, activation: function,
            weight: try weights.vector(node.inputs[1], label: node.label),
            bias: try weights.vector(node.inputs[2], label: node.label))
        scratch.reserve(norm.scratchCount * MemoryLayout<Float>.stride)
        let sources = try ([source] + (node.joinedSource.map { [$0] } ?? [])).map {
            (address: try address($0, label: node.label), channels: $0.shape.channels)
        }
        let to = try destination(node.output, label: node.label)
        func make<T: ComputedElement>(_: T.Type) -> Step {
            var first = 0
            let pieces = sources.map { source in
                defer { first += source.channels }
                return GroupNorm.Piece(
                    source: source.address.assumingMemoryBound(to: T.self), first: first, channels: source.channels)
            }
            return { [scratch] in
                guard let base = scratch.base else { return }
                norm.run(pieces, to.assumingMemoryBound(to: T.self), base.assumingMemoryBound(to: Float.self))
            }
        }
        return try float(source.dtype, node, make(Float.self), make(BFloat16.self))
    }

    /// The step for the element type; only fp32 and bf16 are computed with.
    func float(_ dtype: DType, _ node: Node, _ float32: @autoclosure () -> Step, _ bfloat16: @autoclosure () -> Step)
        throws -> Step
    {
        switch dtype {
        case .float32: return float32()
        case .bfloat16: return bfloat16()
        case .float16, .int32:
            throw CalderaError(
                "\(node.label): the processor has no \(node.op.name) of \(dtype): use the precision fp32 or bf16.")
        }
    }
}

/// A group norm in three passes: mean and squared deviations of each chunk of rows, their union, the affine map.
///
/// Chunks have a fixed number of rows, whatever the number of threads. They are united as Chan, Golub and LeVeque do,
/// "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances" (1979), equations 2.1.
private struct GroupNorm {
    let batch: Int
    let rows: Int
    let channels: Int
    let groups: Int
    let epsilon: Float
    let activation: Activation?
    let weight: UnsafePointer<Float>
    let bias: UnsafePointer<Float>

    private var chunkRows: Int { max(1, 16_384 / channels) }
    private var chunks: Int { (rows + chunkRows - 1) / chunkRows }
    private var partialCount: Int { batch * chunks * groups * 2 }
    private var affineCount: Int { batch * channels * 2 }
    /// Floats of scratch: mean and squared deviation of each chunk's groups, mean and scale of each channel, and two
    /// rows for each thread.
    var scratchCount: Int { partialCount + affineCount + Parallel.threads * channels * 2 }

    /// Neighbouring channels of the source that lie in a tensor of their own: all of them, or those of one of two
    /// joined sources.
    struct Piece<T: ComputedElement> {
        /// [batch · rows, channels].
        let source: UnsafePointer<T>
        /// The piece's place among all channels.
        let first: Int
        let channels: Int
    }

    func run<T: ComputedElement>(
        _ pieces: [Piece<T>], _ destination: UnsafeMutablePointer<T>, _ scratch: UnsafeMutablePointer<Float>
    ) {
        let affine = scratch + partialCount
        let own = affine + affineCount
        Parallel.run(batch * chunks) { thread, index in
            let first = index % chunks * chunkRows
            let chunk = index / chunks * rows + first..<index / chunks * rows + min(first + chunkRows, rows)
            measure(pieces, chunk, scratch + index * groups * 2, own + thread * channels * 2)
            return 0
        }
        for picture in 0..<batch {
            unite(scratch + picture * chunks * groups * 2, affine + picture * channels * 2)
        }
        Parallel.rows(batch * rows, channels: channels) { range in
            for row in range {
                apply(pieces, row, destination + row * channels, affine + row / rows * channels * 2)
            }
        }
    }

    /// Writes mean and summed squared deviation of each group over the rows of a chunk.
    private func measure<T: ComputedElement>(
        _ pieces: [Piece<T>], _ chunk: Range<Int>, _ partial: UnsafeMutablePointer<Float>,
        _ own: UnsafeMutablePointer<Float>
    ) {
        let (sums, means) = (own, own + channels)
        let size = channels / groups
        for piece in pieces {
            T.columnSums(
                piece.source + chunk.lowerBound * piece.channels, sums + piece.first, rows: chunk.count,
                channels: piece.channels)
        }
        for group in 0..<groups {
            let mean = total(sums + group * size, size) / Float(chunk.count * size)
            partial[group * 2] = mean
            (means + group * size).update(repeating: mean, count: size)
        }
        for piece in pieces {
            T.columnDeviations(
                piece.source + chunk.lowerBound * piece.channels, means + piece.first, sums + piece.first,
                rows: chunk.count, channels: piece.channels)
        }
        for group in 0..<groups { partial[group * 2 + 1] = total(sums + group * size, size) }
    }

    private func total(_ values: UnsafePointer<Float>, _ count: Int) -> Float {
        var total: Float = 0
        for index in 0..<count { total += values[index] }
        return total
    }

    /// Unites the chunks of one picture into the mean and the scale of each channel.
    private func unite(_ partial: UnsafePointer<Float>, _ affine: UnsafeMutablePointer<Float>) {
        let size = channels / groups
        for group in 0..<groups {
            var (count, mean, deviation) = (0.0, 0.0, 0.0)
            for chunk in 0..<chunks {
                let entry = partial + (chunk * groups + group) * 2
                let added = Double(min(chunkRows, rows - chunk * chunkRows) * size)
                let difference = Double(entry[0]) - mean
                let united = count + added
                deviation += Double(entry[1]) + difference * difference * count * added / united
                mean += difference * added / united
                count = united
            }
            let scale = Float(1 / (deviation / count + Double(epsilon)).squareRoot())
            for channel in group * size..<(group + 1) * size {
                affine[channel] = Float(mean)
                affine[channels + channel] = scale * weight[channel]
            }
        }
    }

    private func apply<T: ComputedElement>(
        _ pieces: [Piece<T>], _ row: Int, _ destination: UnsafeMutablePointer<T>, _ affine: UnsafePointer<Float>
    ) {
        for piece in pieces {
            T.affine(
                activation, piece.source + row * piece.channels, mean: affine + piece.first,
                scale: affine + channels + piece.first, shift: bias + piece.first, destination + piece.first,
                piece.channels)
        }
    }
}
